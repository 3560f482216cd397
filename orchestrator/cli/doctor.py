"""The command `doctor`: what a run needs, and whether it is there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy import text

from db import migrate as schema
from db import progress
from db.session import transaction
from neurogloss.config.toml import read_config
from neurogloss.errors import UnsuitableModel
from neurogloss.llm.probe import Probe
from orchestrator.cli.terminal import views
from orchestrator.cli.terminal.printing import json_option, print_json
from orchestrator.environment import find_environment, open_database
from orchestrator.runs.create import check_inputs
from orchestrator.runs.endpoints import probe_parts
from worker.app import app


@click.command()
@click.argument("config", type=click.Path(path_type=Path), required=False)
@json_option
def doctor(config: Path | None, as_json: bool) -> None:
    """Check what a run needs: services, schema, workers, and the endpoints of CONFIG.

    The endpoints are asked a few small questions, which cost a fraction of a cent. Exit code 4: one
    of them refuses.
    """
    values = _services()
    if config is not None:
        run = read_config(config)
        check_inputs(run)
        values["endpoints"] = {part: _report(found) for part, found in probe_parts(run).items()}
    if as_json:
        print_json(values)
        return
    console = Console()
    for part, report in values.pop("endpoints", {}).items():
        console.print(report_table(part, report))
    for key, value in values.items():
        click.echo(f"{key}: {value}")


def _services() -> dict[str, Any]:
    surroundings = find_environment()
    engine = open_database(surroundings)
    with transaction(engine) as connection:
        version = connection.execute(text("SHOW server_version")).scalar_one()
        workers = len(progress.workers(connection))
    broker = app.connection_for_write(url=surroundings.settings.redis_url)
    return {
        "postgres": version,
        "schema": schema.head(),
        "redis": broker.ensure_connection(max_retries=1) is not None,
        "workers": workers,
        "embedded": surroundings.home is not None,
    }


def _report(found: Probe) -> dict[str, Any]:
    """Return what was found as plain values; the choice is for simulators."""
    works = {finding.name: finding for finding in found.findings}
    report: dict[str, Any] = {
        "kinds": {
            name: {
                "works": finding.works,
                "detail": finding.detail,
                "top_logprobs": finding.top_logprobs,
                "covered": finding.covered,
            }
            for name, finding in works.items()
        },
        "max_completion_tokens": "max_tokens" in found.refused,
        "temperature": "temperature" not in found.refused,
    }
    if "json" in works:
        report["json_schema"] = "json_schema" not in found.refused and works["json"].works
        report["echo"] = works["echo_logprobs"].works and not works["echo_logprobs"].prompt_logprobs
        report["prompt_logprobs"] = works["echo_logprobs"].prompt_logprobs
        report["logprobs"] = max(f.top_logprobs or 0 for f in found.findings)
        report["auto"] = _auto(found)
    return report


def _auto(found: Probe) -> dict[str, Any]:
    try:
        return found.choice().to_json()
    except UnsuitableModel as error:
        return {"kind": None, "reason": str(error)}


def report_table(part: str, report: Mapping[str, Any]) -> Table:
    table = Table(title=part, title_justify="left", show_header=False)
    for name, found in report["kinds"].items():
        works = "works" if found["works"] else "no"
        table.add_row(name, works, Text(views.plain(found["detail"])))
    for name, value in report.items():
        if isinstance(value, bool):
            table.add_row(name, "yes" if value else "no", "")
        elif isinstance(value, int):
            table.add_row(name, str(value), "alternatives at a token, at most")
    if "auto" in report:
        chosen = report["auto"]
        table.add_row("auto", str(chosen["kind"]), Text(views.plain(chosen["reason"])))
    return table
