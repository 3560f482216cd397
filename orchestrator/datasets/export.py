"""Export a run into a folder: several processes write its layers in parallel.

When a layer is complete, its checksums are written to `.export/`; the same command, run again,
writes only the layers that have none. When all layers are complete, their checksums are merged into
`SHA256SUMS`. `.export/` stays and identifies the run, so that no other export is written into the
folder.
"""

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Engine

from db import datasets
from db.session import make_engine, snapshot
from neurogloss.errors import InputError
from orchestrator.datasets import description
from orchestrator.datasets.exported import ExportedRun
from orchestrator.datasets.files import Folder, checksum_lines, merge_checksums, remove_partial
from orchestrator.datasets.layer_processes import write_layers
from orchestrator.datasets.openai.writer import write_layer as write_openai_layer

CHECKSUMS = "SHA256SUMS"
_STATE = ".export"

WriteLayer = Callable[[Connection, ExportedRun, int, Folder, Callable[[], Any]], None]
WriteWhole = Callable[[Connection, ExportedRun, Folder], None]


@dataclass(frozen=True, slots=True)
class Format:
    """An export format: how to write one layer, and how to write the files about the whole run."""

    name: str
    write_layer: WriteLayer
    write_whole: WriteWhole


@dataclass(frozen=True, slots=True)
class Exported:
    """The result of an export; `resumed_layers` were complete when it began."""

    neurons: int
    files: int
    seconds: float
    resumed_layers: int


def format_of(name: str) -> Format:
    """Return the format of this name.

    Raises:
        InputError: The format is `parquet` and pyarrow is not installed.
    """
    if name == "openai":
        return Format(name, write_openai_layer, _write_description)
    if name == "neuronpedia":
        from orchestrator.datasets.neuronpedia.writer import write_layer

        return Format(name, write_layer, _write_description)
    try:
        from orchestrator.datasets.parquet import writer
    except ImportError as error:
        raise InputError(
            f"--format parquet needs pyarrow: pip install 'neurogloss[parquet]' ({error})"
        ) from error
    return Format(name, writer.write_layer, writer.write_whole)


def _write_description(connection: Connection, run: ExportedRun, folder: Folder) -> None:
    folder.write(description.FILE, description.description_json(run))


def export(
    engine: Engine,
    run_id: int,
    format_name: str,
    root: Path,
    processes: int,
    on_progress: Callable[[int, int], Any] = lambda done, total: None,
) -> Exported:
    """Write a run into a folder.

    Args:
        engine: The database.
        run_id: The run.
        format_name: openai, neuronpedia or parquet.
        root: The folder, created if it does not exist. An unfinished export of the same run and
            format in it is continued.
        processes: The number of layers written at the same time.
        on_progress: Called with the number of neurons written and the total.

    Raises:
        InputError: The run has no records, or the folder contains other files.
    """
    started = time.monotonic()
    chosen = format_of(format_name)
    # One snapshot for the identity and the layers, since workers may be adding rows.
    with snapshot(engine) as connection:
        run = ExportedRun.load(connection, run_id)
        layers = datasets.neurons_by_layer(connection, run_id)
        state = _state(run, format_name, datasets.counts(connection, run_id))
    if not layers:
        raise InputError(f"run {run.row.name!r} has no records yet")
    _open(root, state)
    waiting = [layer for layer in layers if not _sums_file(root, layer).exists()]
    total = sum(layers.values())
    written = total - sum(layers[layer] for layer in waiting)
    # Each process makes its own engine, which cannot be pickled; `str(url)` would mask the
    # password.
    url = engine.url.render_as_string(hide_password=False)
    job = _LayerJob(url, run_id, format_name, root)
    write_layers(job, waiting, processes, lambda n: on_progress(written + n, total))
    on_progress(total, total)
    n_files = _close(engine, run, chosen, root, list(layers))
    return Exported(total, n_files, time.monotonic() - started, len(layers) - len(waiting))


def _state(run: ExportedRun, format_name: str, counts: Mapping[str, int]) -> bytes:
    """Return the identity of an export as JSON: run, format and row counts.

    The counts are part of it because a run that has gained rows since needs a new export.
    """
    value = {
        "run": run.row.name,
        "config_hash": run.row.config_hash,
        "format": format_name,
        "counts": dict(counts),
    }
    return orjson.dumps(value)


def _open(root: Path, state: bytes) -> None:
    """Create the folder, or prepare to continue or replace an export of the same run and format.

    Raises:
        InputError: The folder contains other files, or cannot be written.
    """
    file = root / _STATE / "state.json"
    try:
        root.mkdir(parents=True, exist_ok=True)
        earlier = file.read_bytes() if file.exists() else None
        if earlier is not None:
            remove_partial(root)
        if earlier == state:
            return
        others = [path.name for path in root.iterdir() if path.name != _STATE]
        if others and (earlier is None or not _is_same(earlier, state)):
            raise InputError(f"--to {root}: the folder contains other files, e.g. {others[0]}")
        # The folder is new, or the run has gained rows since: all layers are to be written.
        shutil.rmtree(root / _STATE, ignore_errors=True)
        file.parent.mkdir()
        file.write_bytes(state)
    except OSError as error:
        raise InputError(f"--to {root}: {error.strerror}: {error.filename}") from error


def _is_same(earlier: bytes, state: bytes) -> bool:
    """Return whether both states are of the same run and format; row counts may differ."""
    try:
        before, now = orjson.loads(earlier), orjson.loads(state)
        return all(before[key] == now[key] for key in ("run", "config_hash", "format"))
    except (ValueError, TypeError, KeyError):
        return False


def _sums_file(root: Path, layer: int) -> Path:
    return root / _STATE / f"layer-{layer}.sha256"


@dataclass(frozen=True, slots=True)
class _LayerJob:
    """Writes one layer of a run in a process of its own, to which this value is pickled."""

    database_url: str
    run_id: int
    format_name: str
    root: Path

    def __call__(self, layer: int, on_neuron: Callable[[], None]) -> None:
        folder = Folder(self.root)
        engine = make_engine(self.database_url, pool_size=1)
        try:
            with snapshot(engine) as connection:
                run = ExportedRun.load(connection, self.run_id)
                chosen = format_of(self.format_name)
                chosen.write_layer(connection, run, layer, folder, on_neuron)
        finally:
            engine.dispose()
        _write_sums(_sums_file(self.root, layer), folder.sums)


def _write_sums(path: Path, sums: dict[str, str]) -> None:
    # Written beside its place and renamed: the file marks the layer as complete.
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(checksum_lines(sums), encoding="utf-8")
    partial.replace(path)


def _close(engine: Engine, run: ExportedRun, chosen: Format, root: Path, layers: list[int]) -> int:
    folder = Folder(root)
    with snapshot(engine) as connection:
        chosen.write_whole(connection, run, folder)
    whole = root / _STATE / "whole.sha256"
    _write_sums(whole, folder.sums)
    parts = [whole, *(_sums_file(root, layer) for layer in layers)]
    merged = root / _STATE / CHECKSUMS
    n_files = merge_checksums(parts, merged)
    # The parts are deleted last: a crash before that leaves an export that can be continued.
    merged.replace(root / CHECKSUMS)
    for part in parts:
        part.unlink()
    return n_files
