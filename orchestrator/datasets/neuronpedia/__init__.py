"""Export in Neuronpedia's format, and a loader for the database of one's own Neuronpedia."""
