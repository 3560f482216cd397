"""One module for each page: what it loads, and the routes that show it."""

from web.pages import (
    compare,
    health,
    neuron,
    neurons,
    notes,
    plots,
    run,
    runs,
    sql,
    text,
    text_result,
)

ROUTERS = (
    health.router,
    runs.router,
    run.router,
    neurons.router,
    neuron.router,
    notes.router,
    compare.router,
    plots.router,
    sql.router,
    text.router,
    text_result.router,
)
"""The routes of all pages."""
