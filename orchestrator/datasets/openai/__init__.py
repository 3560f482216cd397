"""OpenAI's format of 2023: what it is written from, and how it is read."""
