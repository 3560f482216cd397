"""The corpus: documents from files, data sets or Python itself, cut into excerpts."""
