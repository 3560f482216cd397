"""Create, resume and change runs."""
