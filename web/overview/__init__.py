"""The value of a run's page: what is counted at once, and what is read in the background."""
