"""Neuronpedia's format, and a loader for a Neuronpedia of one's own."""
