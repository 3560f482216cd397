"""One module for each page: what it loads, and the routes that show it."""

from web.pages import health, runs, text, text_result

ROUTERS = (health.router, runs.router, text.router, text_result.router)
"""The routes of all pages."""
