"""Estimate the calls, tokens, cost and time of a run without making a call."""
