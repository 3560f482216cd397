"""A run as one HTML file, which needs no server: numbers, plots, neurons, configuration, method."""
