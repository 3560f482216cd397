"""Checking a run's consistency."""
