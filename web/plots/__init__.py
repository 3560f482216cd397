"""Plots of a run: what each shows, and how it is drawn as SVG, for light and for dark pages."""
