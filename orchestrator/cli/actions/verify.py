"""What the command `verify` does: check a run's consistency."""

import sys

import click
from sqlalchemy import Engine

from db import devices, listed_neurons, repair, runs
from db.runs import StoredRun
from db.session import transaction
from neurogloss.neurons.alarms import about_devices
from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.cli.terminal.plain import plain
from orchestrator.cli.terminal.progress_line import ProgressLine
from orchestrator.verify.differences import EXAMPLES, Findings
from orchestrator.verify.verify import find_differences


def verify(name: str | None, with_repair: bool, processes: int, as_json: bool) -> None:
    engine = open_engine()
    run = find_run(engine, name)
    repaired = _repair(engine, run.id) if with_repair else None
    findings = Findings()
    with ProgressLine("verifying") as progress:
        found = find_differences(engine, run.id, progress.step, processes)
        for difference in findings.add(found):
            if not as_json:
                click.echo(plain(str(difference)))
    if as_json:
        _print_json(run, findings, repaired)
    else:
        _print(run, findings, repaired)
        with transaction(engine) as connection:
            notes = list(about_devices(devices.of_run(connection, run.id)))
        for note in notes:
            click.echo(plain(f"warning: {note}"))
    sys.exit(1 if findings.counts else 0)


def _repair(engine: Engine, run_id: int) -> int:
    with transaction(engine) as connection:
        changed = repair.repair_shards(connection, run_id)
    with transaction(engine) as connection:
        changed += repair.repair_spend(connection, run_id)
    with transaction(engine) as connection:
        layers = runs.layers_of(connection, run_id)
        return changed + listed_neurons.renew(connection, run_id, layers)


def _print_json(run: StoredRun, findings: Findings, repaired: int | None) -> None:
    differences = [{"check": d.check, "where": d.where, "what": d.what} for d in findings.examples]
    counts = {"is_clean": not findings.counts, "counts": dict(findings.counts)}
    print_json({"run": run.name, **counts, "repaired": repaired, "differences": differences})


def _print(run: StoredRun, findings: Findings, repaired: int | None) -> None:
    if repaired is not None:
        click.echo(f"{repaired} counters were set to what the rows say")
    for check, count in findings.counts.items():
        if count > EXAMPLES:
            click.echo(f"{check}: {count:,} differences, of which {EXAMPLES:,} are shown")
    total = sum(findings.counts.values())
    click.echo(f"run {run.name}: {f'{total:,} differences' if total else 'no difference'}")
