"""Import a published dataset as a run.

Threads read and check neurons ahead of the main thread, which stores them chunk by chunk. No view
shows the run before its last neuron is stored. After a failure the same command, run again, imports
the missing neurons.
"""

import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from db import corpora, imports, runs
from db.datasets import neurons_with_records
from db.run_locks import RunLock
from db.runs import NewRun, StoredRun
from db.session import transaction
from neurogloss.config.run import RunConfig
from neurogloss.errors import InputError
from orchestrator.datasets.imports.alone import alone
from orchestrator.datasets.imports.corpus import ImportedCorpus
from orchestrator.datasets.imports.imported_run import Origin, configuration, find_origin
from orchestrator.datasets.imports.rows import ImportedRows, PublishedFiles, add_rows
from orchestrator.datasets.imports.source import Source
from orchestrator.datasets.openai import reader, related_reader, writer
from worker.run import Run

CHUNK = 64  # neurons stored in one transaction


@dataclass(frozen=True, slots=True)
class ImportSelection:
    """The part of a dataset to import, and the name of its run.

    `subject` is the subject model of a dataset that does not name it. `layers` None means all.
    `related` makes the import request the files of related neurons and tokens from a dataset
    without a list of its files. `restart` drops the stored part of an unfinished import.
    """

    name: str
    subject: str | None = None
    layers: frozenset[int] | None = None
    related: bool = False
    restart: bool = False


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import.

    Attributes:
        run: The name of the run.
        neurons: The number of neurons in the run.
        resumed: How many of them were stored by an earlier, unfinished import.
        other_explanations: Explanations that were not imported because a neuron had several.
    """

    run: str
    neurons: int
    resumed: int
    other_explanations: int


def import_dataset(
    engine: Engine,
    source: Source,
    selection: ImportSelection,
    concurrency: int,
    on_progress: Callable[[int, int], Any] = lambda done, total: None,
) -> Imported:
    """Import a dataset as a run.

    Raises:
        InputError: The name is taken, or a file is missing or wrong; the message names it.
    """
    origin = find_origin(source, selection.subject)
    neurons = _neurons(source, origin, selection)
    reader = _Reader(source, selection.related)
    with RunLock(engine, "import") as lock:
        run_id, config = _begin(engine, lock, source, origin, selection, reader, neurons)
        corpus = _corpus(engine, run_id)
        total, done, others = sum(map(len, neurons.values())), 0, 0
        with transaction(engine) as connection:
            missing = {
                layer: sorted(set(indices) - set(neurons_with_records(connection, run_id, layer)))
                for layer, indices in neurons.items()
            }
        resumed = done = total - sum(map(len, missing.values()))
        with ThreadPoolExecutor(concurrency) as pool:
            pairs = ((layer, n) for layer, indices in missing.items() for n in indices)
            # Twice the threads: enough to keep all busy while a chunk is stored.
            files = _read_ahead(pool, reader, pairs, 2 * concurrency)
            while chunk := list(islice(files, CHUNK)):
                _save(engine, run_id, config, corpus, chunk, lock)
                done += len(chunk)
                others += sum(f.explanation.n_others for f in chunk if f.explanation)
                on_progress(done, total)
        with alone(engine, run_id, lock) as connection:
            imports.finish(connection, run_id)
    return Imported(selection.name, total, resumed, others)


def _neurons(source: Source, origin: Origin, selection: ImportSelection) -> dict[int, list[int]]:
    """Return the neurons to import, by layer."""
    neurons = source.neurons()
    # A server without a list of its files: the shape of the model says which neurons to request.
    if not neurons and origin.shape is not None and not source.listed:
        n_layers, per_layer = origin.shape
        neurons = {layer: list(range(per_layer)) for layer in range(n_layers)}
    if not neurons:
        folder = writer.RECORDS.split("/", 1)[0]
        raise InputError(
            f"{source.name} has no {folder}/LAYER/NEURON.json, and its shape is not known"
        )
    if selection.layers is not None:
        if absent := sorted(selection.layers - neurons.keys()):
            raise InputError(f"--layers: {source.name} has no layer {absent[0]}")
        neurons = {layer: neurons[layer] for layer in sorted(selection.layers)}
    return neurons


class _Reader:
    """Reads the files about a neuron and checks them."""

    def __init__(self, source: Source, related: bool) -> None:
        self._source = source
        self._related = related

    def where(self, path: str) -> str:
        return f"{self._source.name}/{path}"

    def records(self, layer: int, neuron: int) -> reader.PublishedNeuron:
        path = writer.RECORDS.format(layer, neuron)
        content = self._source.read(path)
        if content is None:
            raise InputError(f"{self.where(path)} is missing")
        return reader.read_neuron(content, self.where(path), layer, neuron)

    def files(self, layer: int, neuron: int) -> PublishedFiles:
        """Read the files about a neuron.

        Raises:
            InputError: A file is missing or wrong.
        """
        paths = {
            name: getattr(writer, name).format(layer, neuron)
            for name in (
                "EXPLANATIONS",
                "TOKENS_BY_ACTIVATION",
                "NEURONS_BY_WEIGHT",
                "TOKENS_BY_WEIGHT",
            )
        }
        contents = {name: self._optional(name, path) for name, path in paths.items()}
        explained, means, neurons, tokens = (
            (contents[name], self.where(path)) for name, path in paths.items()
        )
        return PublishedFiles(
            layer=layer,
            neuron=neuron,
            records=self.records(layer, neuron),
            explanation=explained[0]
            and reader.read_explanation(explained[0], explained[1], layer, neuron),
            token_means=means[0] and related_reader.read_token_means(*means),
            related_neurons=related_reader.read_related_neurons(*neurons) if neurons[0] else {},
            related_tokens=related_reader.read_related_tokens(*tokens) if tokens[0] else {},
        )

    def _optional(self, name: str, path: str) -> Any:
        listed = self._source.listed
        if listed and path not in listed:
            return None
        # Without a list, each absent file costs a request, so those of related neurons and tokens
        # are read only on demand.
        if name != "EXPLANATIONS" and not listed and not self._related:
            return None
        return self._source.read(path)


def _begin(
    engine: Engine,
    lock: RunLock,
    source: Source,
    origin: Origin,
    selection: ImportSelection,
    reader: _Reader,
    neurons: Mapping[int, Sequence[int]],
) -> tuple[int, RunConfig]:
    """Find the run that is being imported, or create it; acquire its lock.

    Raises:
        InputError: The name is taken, or another command is importing the run.
    """
    with transaction(engine) as connection:
        stored = runs.find(connection, selection.name)
    if stored is not None:
        if stored.state != "importing":
            raise InputError(f"--name {selection.name}: there is a run of this name already")
        _take(lock, stored.id, stored.name)
        if not selection.restart:
            return _go_on(engine, stored, source)
        with transaction(engine) as connection:
            imports.discard(connection, stored.id)
    layer = next(iter(neurons))
    first = reader.records(layer, neurons[layer][0])
    where = reader.where("dataset.json")
    config = configuration(origin, selection.name, selection.subject, source, first, where)
    shape = origin.shape or (max(neurons) + 1, max(map(max, neurons.values())) + 1)
    try:
        with transaction(engine) as connection:
            run_id = _create(connection, config, shape, source, origin)
    except IntegrityError as error:
        raise InputError(f"--name {selection.name}: another command has just taken it") from error
    _take(lock, run_id, selection.name)
    return run_id, config


def _create(
    connection: Connection,
    config: RunConfig,
    shape: tuple[int, int],
    source: Source,
    origin: Origin,
) -> int:
    """Store a new run in state `importing`, with an empty corpus of its own."""
    # Corpora are shared by digest; a random one keeps this one apart from all others.
    digest = f"{corpora.IMPORTED}{uuid.uuid4()}"
    run = NewRun(
        name=config.name,
        config=config.model_dump(mode="json"),
        config_hash=config.digest(),
        corpus_id=imports.create_corpus(
            connection, digest, source.name, config.corpus.excerpt_tokens
        ),
        n_layers=shape[0],
        neurons_per_layer=shape[1],
        state="importing",
    )
    run_id = runs.create(connection, run)
    imports.save_origin(connection, run_id, source.name, origin.activation_function)
    return run_id


def _take(lock: RunLock, run_id: int, name: str) -> None:
    if not lock.acquire(run_id):
        raise InputError(f"run {name!r} is being imported by another command")


def _go_on(engine: Engine, stored: StoredRun, source: Source) -> tuple[int, RunConfig]:
    with transaction(engine) as connection:
        corpus = corpora.get(connection, stored.corpus_id)
    if corpus.source != source.name:
        raise InputError(
            f"--name {stored.name}: an import of {corpus.source} under this name is not "
            "finished; finish it, choose another name, or drop it with --restart"
        )
    return stored.id, Run.of(stored).config


def _corpus(engine: Engine, run_id: int) -> ImportedCorpus:
    with transaction(engine) as connection:
        # Another command that has lost its lock may be storing its last chunk.
        stored = corpora.get(connection, runs.get_for_update(connection, run_id).corpus_id)
        corpus = ImportedCorpus(stored.id, stored.vocabulary_id)
        corpus.load(connection)
    return corpus


def _read_ahead(
    pool: ThreadPoolExecutor, reader: _Reader, neurons: Iterator[tuple[int, int]], ahead: int
) -> Iterator[PublishedFiles]:
    """Yield the files of each neuron, in order, while the pool reads the next `ahead` neurons."""
    under_way: deque[Future[PublishedFiles]] = deque()
    try:
        for layer, neuron in neurons:
            under_way.append(pool.submit(reader.files, layer, neuron))
            if len(under_way) > ahead:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        # After an error: the pool, when it is closed, would read all that is queued.
        for future in under_way:
            future.cancel()


def _save(
    engine: Engine,
    run_id: int,
    config: RunConfig,
    corpus: ImportedCorpus,
    chunk: Sequence[PublishedFiles],
    lock: RunLock,
) -> None:
    rows = ImportedRows()
    for files in chunk:
        add_rows(rows, run_id, config, corpus, files)
    with alone(engine, run_id, lock) as connection:
        # In the same transaction as the rows that refer to them.
        corpus.save(connection)
        imports.save(connection, {f.name: getattr(rows, f.name) for f in fields(rows)})
