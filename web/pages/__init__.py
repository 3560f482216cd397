"""One module for each page: what it loads, and the routes that show it."""

from web.pages import compare, health, neuron, plots, run, runs, sql, text, text_result

ROUTERS = (
    health.router,
    runs.router,
    run.router,
    neuron.router,
    plots.router,
    compare.router,
    text.router,
    text_result.router,
    sql.router,
)
"""The routes of all pages."""
