"""What the command `export` does: write a run as a dataset."""

from dataclasses import asdict
from pathlib import Path

import click

from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.cli.terminal.progress_bar import progress_bar
from orchestrator.datasets import export as datasets


def export(name: str | None, format_name: str, folder: Path, processes: int, as_json: bool) -> None:
    engine = open_engine()
    run = find_run(engine, name)
    with progress_bar("neurons") as on_progress:
        done = datasets.export(engine, run.id, format_name, folder, processes, on_progress)
    if as_json:
        print_json({"run": run.name, "folder": str(folder), **asdict(done)})
        return
    click.echo(
        f"run {run.name}: {done.neurons:,} neurons in {done.files:,} files, "
        f"{done.seconds:.0f} s; check them: cd {folder} && sha256sum --quiet --check SHA256SUMS"
    )
