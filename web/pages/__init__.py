"""One module for each page: what it loads, and the routes that show it."""

from web.pages import health, runs

ROUTERS = (health.router, runs.router)
"""The routes of all pages."""
