"""What the command `doctor` does: check the services and endpoints that a run needs."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError
from sqlalchemy import text

from db import migrate as schema
from db import progress
from db.session import transaction
from neurogloss.config.run import CorpusConfig, RunConfig, SubjectConfig
from neurogloss.config.toml import read_config
from neurogloss.errors import InputError, UnsuitableModel
from neurogloss.llm.probe import Probe
from neurogloss.subject.shape import Shape, read_shape
from orchestrator.cli.terminal.full_size_table import full_size_table
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.cli.terminal.plain import plain
from orchestrator.cli.terminal.probe_table import probe_table
from orchestrator.cli.terminal.steps import Steps
from orchestrator.cli.terminal.whole_table import output_console
from orchestrator.environment import find_environment, open_database
from orchestrator.estimate.full_size import advice, measure
from orchestrator.estimate.sample import SampleNeuron, sample_without_run
from orchestrator.runs.endpoints import probe_parts
from orchestrator.runs.inputs import check_inputs
from worker.app import app
from worker.outages import first_line_of


def doctor(config: Path | None, as_json: bool) -> None:
    _warn_of_open_keys(Path(".env"))
    values = services = _services()
    if config is not None:
        run = read_config(config)
        values = services | _endpoints(run, check_inputs(run))
    if as_json:
        print_json(values)
        return
    console = output_console()
    for part, report in values.pop("endpoints", {}).items():
        console.print(probe_table(part, report))
    if calls := values.pop("full_size", []):
        console.print(full_size_table(calls))
    for sentence in values.pop("advice", []):
        console.print(plain(sentence), markup=False, highlight=False)
    for line in _service_lines(services):
        click.echo(line)


def _service_lines(services: dict[str, Any]) -> Iterator[str]:
    where = "embedded" if services["embedded"] else "of DATABASE_URL"
    yield f"Postgres {services['postgres']} ({where}), schema {services['schema']}"
    yield "Redis answers"
    yield f"workers alive: {services['workers']}"


def _warn_of_open_keys(path: Path) -> None:
    """Say so if others on this machine can read a file of passwords and keys."""
    try:
        is_open = path.stat().st_mode & 0o077
    except OSError:  # there is none, or none that is ours
        return
    if is_open:
        click.echo(f"others on this machine can read {path}: chmod 600 {path}", err=True)


def _endpoints(config: RunConfig, shape: Shape | None) -> dict[str, Any]:
    """Return what the probes of the endpoints found, and what full-size calls took."""
    with Steps() as steps:
        probes = probe_parts(config, steps.begin)
        values: dict[str, Any] = {
            "endpoints": {part: _report(probe) for part, probe in probes.items()}
        }
        if probes:
            choice = None
            if "simulator" in probes:
                choice = probes["simulator"].choice_of(config.simulator.kind)
            calls = measure(config, _neuron(config, shape), choice, steps.begin)
            values["full_size"] = [
                {**asdict(call), "tokens_per_second": call.tokens_per_second} for call in calls
            ]
            values["advice"] = advice(config, calls)
    return values


def _neuron(config: RunConfig, shape: Shape | None) -> SampleNeuron:
    """Return a made-up neuron of the configuration's size, the one with the longest texts.

    Without a shape, as for a run on the records of another one, its texts are from elsewhere.
    """
    if shape is None:
        config = config.model_copy(update={"subject": SubjectConfig(), "corpus": CorpusConfig()})
        shape = read_shape("demo")
    neurons = sample_without_run(config, shape.vocab_size).neurons
    return max(neurons, key=lambda neuron: sum(len("".join(text)) for text in neuron.scored))


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
    if "echo_logprobs" in works:
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
