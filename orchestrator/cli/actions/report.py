"""What the command `report` does: a run as one HTML file."""

from importlib.metadata import version
from pathlib import Path

import click

from db.session import snapshot
from neurogloss.errors import InputError
from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.cli.terminal.progress_bar import progress_bar
from web.report.file import report_file
from web.report.report import load_report


def report(name: str | None, output: Path | None, n: int, as_json: bool) -> None:
    engine = open_engine()
    run = find_run(engine, name)
    file = output or Path(f"{run.name.replace('/', '_')}.html")
    _check(file)
    with snapshot(engine) as connection, progress_bar("neurons and plots") as say:
        found = load_report(connection, run, n, version("neurogloss"), say)
    try:
        file.write_text(report_file(found), encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"--output {file}: {error.strerror}") from error
    size = file.stat().st_size
    if as_json:
        print_json({"file": str(file), "bytes": size})
    else:
        click.echo(f"{file}  ({size:,} bytes)", err=True)


def _check(file: Path) -> None:
    """Check that a file can be written, before anything is counted."""
    if file.is_dir() or not file.parent.is_dir():
        raise InputError(f"--output {file}: it is a folder, or there is no folder {file.parent}")
