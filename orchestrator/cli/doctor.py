"""The command `doctor`: check the services and endpoints that a run needs."""

from pathlib import Path
from typing import Any

import click
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError
from sqlalchemy import text

from db import migrate as schema
from db import progress
from db.session import transaction
from neurogloss.config.toml import read_config
from neurogloss.errors import InputError, UnsuitableModel
from neurogloss.llm.probe import Probe
from orchestrator.cli.options import json_option
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.cli.terminal.probe_table import probe_table
from orchestrator.cli.terminal.whole_table import output_console
from orchestrator.environment import find_environment, open_database
from orchestrator.runs.endpoints import probe_parts
from orchestrator.runs.inputs import check_inputs
from worker.app import app
from worker.outages import first_line_of


@click.command()
@click.argument("config", type=click.Path(path_type=Path), required=False)
@json_option
def doctor(config: Path | None, as_json: bool) -> None:
    """Check what a run needs: services, schema, workers, and the endpoints of CONFIG.

    Each endpoint is sent a few small calls, which cost a fraction of a cent. Exit code 4: an
    endpoint refuses.
    """
    values = _services()
    if config is not None:
        run = read_config(config)
        check_inputs(run)
        values["endpoints"] = {part: _report(probe) for part, probe in probe_parts(run).items()}
    if as_json:
        print_json(values)
        return
    console = output_console()
    for part, report in values.pop("endpoints", {}).items():
        console.print(probe_table(part, report))
    for key, value in values.items():
        click.echo(f"{key}: {value}")


def _services() -> dict[str, Any]:
    environment = find_environment()
    engine = open_database(environment)
    with transaction(engine) as connection:
        version = connection.execute(text("SHOW server_version")).scalar_one()
        workers = len(progress.workers(connection))
    _check_redis(environment.settings.redis_url)
    return {
        "postgres": version,
        "schema": schema.head(),
        "redis": True,
        "workers": workers,
        "embedded": environment.home is not None,
    }


def _check_redis(url: str) -> None:
    """Connect as Celery does.

    Raises:
        InputError: Redis cannot be reached.
    """
    try:
        with app.connection_for_write(url=url) as broker:
            broker.ensure_connection(max_retries=1)
    except (BrokerError, RedisError, OSError) as error:
        reason = first_line_of(error)
        raise InputError(f"REDIS_URL: Redis cannot be reached: {reason}") from error


def _report(probe: Probe) -> dict[str, Any]:
    """Return what a probe found, in the types of JSON; `auto` is there for simulators only."""
    works = {finding.name: finding for finding in probe.findings}
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
        "max_completion_tokens": "max_tokens" in probe.refused,
        "temperature": "temperature" not in probe.refused,
    }
    if "json" in works:
        report["json_schema"] = "json_schema" not in probe.refused and works["json"].works
        report["echo"] = works["echo_logprobs"].works and not works["echo_logprobs"].prompt_logprobs
        report["prompt_logprobs"] = works["echo_logprobs"].prompt_logprobs
        report["logprobs"] = max(f.top_logprobs or 0 for f in probe.findings)
        report["auto"] = _auto(probe)
    return report


def _auto(probe: Probe) -> dict[str, Any]:
    try:
        return probe.choice().to_json()
    except UnsuitableModel as error:
        return {"kind": None, "reason": str(error)}
