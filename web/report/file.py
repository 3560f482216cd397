"""The report of a run as one HTML file: no script, and nothing from elsewhere."""

import json
from base64 import b64encode
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files

from jinja2 import Environment
from markupsafe import Markup

from web.formats import NOTHING
from web.rendering import templates
from web.report.report import RunReport


def report_file(report: RunReport) -> str:
    """Return a report as HTML."""
    return (
        _environment()
        .get_template("report.html")
        .render(
            report=report,
            value=report.page,  # what the parts of the run's page are about
            configuration=json.dumps(report.run.config, indent=2),
            style=_own("style.css") + _own("neuron.css"),
        )
    )


@cache
def _environment() -> Environment:
    """Return the templates of pages, for a file: "3 min ago" would be wrong in it."""
    # A copy with filters of its own: the pages of the same process keep theirs.
    environment = templates().overlay()
    environment.filters = {**environment.filters, "ago": _moment, "data_address": _data_address}
    return environment


def _moment(moment: datetime | None) -> str:
    return NOTHING if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _data_address(svg: str) -> str:
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"


def _own(name: str) -> Markup:
    return Markup(files("web").joinpath("static", name).read_text(encoding="utf-8"))
