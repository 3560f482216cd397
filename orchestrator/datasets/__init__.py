"""Runs as datasets: exports in three formats, and imports of the format of OpenAI."""
