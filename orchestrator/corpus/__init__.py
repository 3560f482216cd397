"""The corpus: documents from files, datasets or Python's own documentation, cut into excerpts."""
