"""The parts of a run that are checked by themselves, so that several processes share them."""

import pickle
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine

from db import corpora, references
from db.session import make_engine, share_snapshot, snapshot
from orchestrator.datasets.layer_processes import write_layers
from orchestrator.verify.counters import check_lists
from orchestrator.verify.differences import Difference
from orchestrator.verify.neurons import check_neurons
from worker.run import load_run

Layers = Sequence[int]
PER_PROCESS = 4  # parts, as one process may be done before another; each starts in about a second


def parts_of(layers: Layers, processes: int) -> list[Layers]:
    """Return groups of layers to check, and at first an empty one: references of all of them."""
    size = max(1, -(-len(layers) // (processes * PER_PROCESS)))
    return [[], *(layers[first : first + size] for first in range(0, len(layers), size))]


def check_part(
    connection: Connection, run_id: int, layers: Layers, on_neuron: Callable[[], None]
) -> Iterator[Difference]:
    """Yield the differences of a part; call the function after each neuron."""
    if not layers:
        yield from check_references(connection, run_id)
        return
    run = load_run(connection, run_id)
    yield from check_lists(connection, run_id, layers)
    corpus = corpora.get(connection, run.row.corpus_id)
    for differences in check_neurons(connection, run, corpus, layers):
        on_neuron()
        yield from differences


def check_in_processes(
    connection: Connection,
    engine: Engine,
    run_id: int,
    parts: Sequence[Layers],
    processes: int,
    on_neurons: Callable[[int], None],
) -> Iterator[Difference]:
    """Yield the differences of all parts, in their order, once the last is checked.

    Args:
        connection: In a snapshot, which the processes share.
        engine: Of the same database.
        run_id: The run.
        parts: From `parts_of`.
        processes: How many parts are checked at the same time.
        on_neurons: Called with the number of neurons checked so far.

    Raises:
        InputError: A process died.
    """
    url = engine.url.render_as_string(hide_password=False)
    with tempfile.TemporaryDirectory(prefix="neurogloss-verify-") as name:
        job = _Job(url, share_snapshot(connection), run_id, parts, Path(name))

        def on_progress(n: int) -> None:
            connection.exec_driver_sql("SELECT")  # or the server would take it for forgotten
            on_neurons(n)

        write_layers(job, range(len(parts)), processes, on_progress)
        for number in range(len(parts)):
            # Our own files, in a folder that no other user can write to.
            yield from pickle.loads(job.file(number).read_bytes())


@dataclass(frozen=True, slots=True)
class _Job:
    """Checks a part in a process of its own, and leaves its differences in a file."""

    url: str
    shared: str
    run_id: int
    parts: Sequence[Layers]
    folder: Path

    def __call__(self, number: int, on_neuron: Callable[[], None]) -> None:
        engine = make_engine(self.url)
        with snapshot(engine, self.shared) as connection:
            found = list(check_part(connection, self.run_id, self.parts[number], on_neuron))
        engine.dispose()
        self.file(number).write_bytes(pickle.dumps(found))

    def file(self, number: int) -> Path:
        return self.folder / f"{number}.pickle"


def check_references(connection: Connection, run_id: int) -> Iterator[Difference]:
    """Yield the rows that name a neuron or a call that is not there."""
    for table in references.OF_NEURONS:
        for stray in references.strays(connection, run_id, table):
            what = f"{table} has rows of it, but it is not in the run"
            yield Difference("references", _name(*stray), what)
    for table in references.WITH_CALLS:
        for layer, neuron, call in references.lost_calls(connection, run_id, table):
            what = f"its {table} names call {call.hex()[:16]}, which is not stored"
            yield Difference("references", _name(layer, neuron), what)


def _name(layer: int, neuron: int) -> str:
    return f"layer {layer} neuron {neuron}"
