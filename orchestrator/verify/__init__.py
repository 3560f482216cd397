"""Check a run's consistency."""
