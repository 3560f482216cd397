"""Runs as datasets: export in three formats, and import of OpenAI's format."""
