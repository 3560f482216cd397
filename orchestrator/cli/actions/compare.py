"""What the command `compare` does: two runs, or a run and the paper."""

from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Engine

from db import comparison
from db.run_comparison import two_runs
from db.runs import StoredRun
from db.session import transaction
from neurogloss.errors import InputError
from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.cli.terminal import comparison_tables
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.cli.terminal.whole_table import output_console
from orchestrator.compare import plots, reports


def compare(
    a: str,
    b: str | None,
    with_paper: bool,
    limit: int,
    neurons: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    if (b is None) != with_paper:
        raise InputError("name a second run, or --paper; not both")
    if neurons is not None and with_paper:
        raise InputError("--neurons needs a second run: the paper published means of layers")
    if plot is not None:
        plots.check(plot)
    engine = open_engine()
    runs = [find_run(engine, name) for name in (a, b) if name is not None]
    if with_paper:
        report: dict[str, Any] = _paper(engine, runs[0], plot)
    else:
        report = _runs(engine, runs[0], runs[1], limit, plot)
    if neurons is not None:
        _write_neurons(engine, runs[0], runs[1], neurons)
    if as_json:
        print_json(report)
    else:
        show = comparison_tables.with_the_paper if with_paper else comparison_tables.two_runs
        output_console().print(show(report))


def _runs(
    engine: Engine, a: StoredRun, b: StoredRun, limit: int, plot: Path | None
) -> dict[str, Any]:
    with transaction(engine) as connection:
        report = two_runs(connection, a, b, limit)
        if plot is not None:
            plots.two_runs(plot, report, *reports.score_columns(connection, a, b))
    return report


def _paper(engine: Engine, run: StoredRun, plot: Path | None) -> dict[str, Any]:
    with transaction(engine) as connection:
        report = reports.with_the_paper(connection, run)
    if plot is not None:
        plots.with_the_paper(plot, report)
    return report


def _write_neurons(engine: Engine, a: StoredRun, b: StoredRun, file: Path) -> None:
    try:
        with file.open("wb") as lines, transaction(engine) as connection:
            for pair in comparison.pairs(connection, a.id, b.id):
                lines.write(orjson.dumps(pair, option=orjson.OPT_APPEND_NEWLINE))
    except OSError as error:
        raise InputError(f"--neurons {file}: {error.strerror}") from error
