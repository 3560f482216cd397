"""One module for each page: what it loads, and the routes that show it."""

from web.pages import runs

ROUTERS = (runs.router,)
"""The routes of all pages."""
