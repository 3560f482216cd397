"""Pages, their JSON, and metrics. The package reads the database and imports no torch."""
