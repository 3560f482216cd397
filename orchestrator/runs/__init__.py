"""Creating, resuming and changing runs."""
