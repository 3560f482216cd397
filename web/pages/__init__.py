"""One module for each page: what it loads, and the routes that show it."""

from web.pages import (
    calls,
    compare,
    control,
    failures,
    health,
    meaning,
    metrics,
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
    failures.router,
    health.router,
    metrics.router,
    runs.router,
    run.router,
    meaning.router,
    neurons.router,
    neuron.router,
    notes.router,
    control.router,
    calls.router,
    compare.router,
    plots.router,
    sql.router,
    text.router,
    text_result.router,
)
"""The routes of all pages."""
