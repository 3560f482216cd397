"""Compare the scores of a run with those of another run, or of the paper."""
