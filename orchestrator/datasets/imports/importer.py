"""Import: a published dataset becomes a run like any other.

Neurons are read some ahead, checked, and stored a chunk at a time. Until the last of them is
stored, the run is in no view; after a fault, or once a wrong file is mended, the same command goes
on with those that are missing.
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
from db.runs import NewRun, StoredRun
from db.session import transaction
from neurogloss.config.run import RunConfig
from neurogloss.errors import InputError
from orchestrator.datasets.imports.corpus import ImportedCorpus
from orchestrator.datasets.imports.imported_run import Origin, configuration, find_origin
from orchestrator.datasets.imports.rows import ImportedRows, PublishedFiles, add_rows, check_lengths
from orchestrator.datasets.imports.source import Source
from orchestrator.datasets.openai import reader, related_reader, writer
from worker.run import Run

CHUNK = 64  # neurons stored in one transaction


@dataclass(frozen=True, slots=True)
class ImportSelection:
    """What to import.

    `subject` is the subject model, where the dataset does not say it. `layers` are those wanted,
    None for all. `related` says whether to look for related neurons and tokens where the dataset
    has no list of its files.
    """

    name: str
    subject: str | None = None
    layers: frozenset[int] | None = None
    related: bool = False
    restart: bool = False


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import left: neurons in the run, and those it had already when it began."""

    run: str
    neurons: int
    resumed: int
    other_explanations: int


def import_dataset(
    engine: Engine,
    source: Source,
    wanted: ImportSelection,
    concurrency: int,
    on_progress: Callable[[int, int], Any] = lambda done, total: None,
) -> Imported:
    """Make a run of a dataset.

    Raises:
        InputError: The name is taken, or a file is missing or wrong; the message names it.
    """
    origin = find_origin(source, wanted.subject)
    neurons = _neurons(source, origin, wanted)
    reader = _Reader(source, wanted.related)
    with imports.ImportLock(engine) as lock:
        run_id, config = _begin(engine, lock, source, origin, wanted, reader, neurons)
        corpus = _corpus(engine, run_id)
        total, done, others = sum(map(len, neurons.values())), 0, 0
        with transaction(engine) as connection:
            missing = {
                layer: sorted(set(found) - set(neurons_with_records(connection, run_id, layer)))
                for layer, found in neurons.items()
            }
        resumed = done = total - sum(map(len, missing.values()))
        with ThreadPoolExecutor(concurrency) as pool:
            every = ((layer, n) for layer, found in missing.items() for n in found)
            files = _read_ahead(pool, reader, every, 2 * concurrency)
            while chunk := list(islice(files, CHUNK)):
                _save(engine, run_id, config, corpus, chunk, reader)
                done += len(chunk)
                others += sum(f.explanation.n_others for f in chunk if f.explanation)
                on_progress(done, total)
        with transaction(engine) as connection:
            imports.finish(connection, run_id)
    return Imported(wanted.name, total, resumed, others)


def _neurons(source: Source, origin: Origin, wanted: ImportSelection) -> dict[int, list[int]]:
    found = source.neurons()
    if not found and origin.shape is not None and not source.listed:
        n_layers, per_layer = origin.shape
        found = {layer: list(range(per_layer)) for layer in range(n_layers)}
    if not found:
        folder = writer.RECORDS.split("/", 1)[0]
        raise InputError(
            f"{source.name} has no {folder}/LAYER/NEURON.json, and its shape is not known"
        )
    if wanted.layers is not None:
        if absent := sorted(wanted.layers - found.keys()):
            raise InputError(f"--layers: {source.name} has no layer {absent[0]}")
        found = {layer: found[layer] for layer in sorted(wanted.layers)}
    return found


class _Reader:
    """Reads all files about a neuron."""

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
        """Return what the files about a neuron say.

        Raises:
            InputError: One of them is missing or wrong.
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
        found = {name: self._optional(name, path) for name, path in paths.items()}
        explained, means, neurons, tokens = (
            (found[name], self.where(path)) for name, path in paths.items()
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
        if name != "EXPLANATIONS" and not listed and not self._related:
            return None
        return self._source.read(path)


def _begin(
    engine: Engine,
    lock: imports.ImportLock,
    source: Source,
    origin: Origin,
    wanted: ImportSelection,
    reader: _Reader,
    neurons: Mapping[int, Sequence[int]],
) -> tuple[int, RunConfig]:
    """Find the run that is being imported, or create it, and take its lock."""
    with transaction(engine) as connection:
        stored = runs.find(connection, wanted.name)
    if stored is not None:
        if stored.state != "importing":
            raise InputError(f"--name {wanted.name}: there is a run of this name already")
        _take(lock, stored.id, stored.name)
        if not wanted.restart:
            return _go_on(engine, stored, source)
        with transaction(engine) as connection:
            imports.discard(connection, stored.id)
    layer = next(iter(neurons))
    first = reader.records(layer, neurons[layer][0])
    where = reader.where("dataset.json")
    config = configuration(origin, wanted.name, wanted.subject, source, first, where)
    shape = origin.shape or (max(neurons) + 1, max(map(max, neurons.values())) + 1)
    try:
        with transaction(engine) as connection:
            run_id = _create(
                connection, config, shape, source, origin, excerpt_tokens=len(first.top[0].tokens)
            )
    except IntegrityError as error:
        raise InputError(f"--name {wanted.name}: another command has just taken it") from error
    _take(lock, run_id, wanted.name)
    return run_id, config


def _create(
    connection: Connection,
    config: RunConfig,
    shape: tuple[int, int],
    source: Source,
    origin: Origin,
    *,
    excerpt_tokens: int,
) -> int:
    """Store a run that is being imported, with a corpus of its own that is empty."""
    digest = f"imported:{uuid.uuid4()}"
    run = NewRun(
        name=config.name,
        config=config.model_dump(mode="json"),
        config_hash=config.digest(),
        corpus_id=imports.create_corpus(connection, digest, source.name, excerpt_tokens),
        n_layers=shape[0],
        neurons_per_layer=shape[1],
        state="importing",
    )
    run_id = runs.create(connection, run)
    imports.save_origin(connection, run_id, source.name, origin.activation_function)
    return run_id


def _take(lock: imports.ImportLock, run_id: int, name: str) -> None:
    if not lock.take(run_id):
        raise InputError(f"run {name!r} is being imported by another command")


def _go_on(engine: Engine, stored: StoredRun, source: Source) -> tuple[int, RunConfig]:
    with transaction(engine) as connection:
        corpus = corpora.get(connection, stored.corpus_id)
    if corpus.source != source.name:
        raise InputError(
            f"--name {stored.name}: the import of {corpus.source} under this name is not "
            "finished; go on with it, choose another name, or drop it with --restart"
        )
    return stored.id, Run.of(stored).config


def _corpus(engine: Engine, run_id: int) -> ImportedCorpus:
    with transaction(engine) as connection:
        stored = corpora.get(connection, runs.get(connection, run_id).corpus_id)
        corpus = ImportedCorpus(stored.id, stored.vocabulary_id, stored.excerpt_tokens)
        corpus.load(connection)
    return corpus


def _read_ahead(
    pool: ThreadPoolExecutor, reader: _Reader, neurons: Iterator[tuple[int, int]], ahead: int
) -> Iterator[PublishedFiles]:
    """Yield what is said of each neuron, in order, while the next ones are read."""
    under_way: deque[Future[PublishedFiles]] = deque()
    try:
        for layer, neuron in neurons:
            under_way.append(pool.submit(reader.files, layer, neuron))
            if len(under_way) > ahead:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        for future in under_way:
            future.cancel()


def _save(
    engine: Engine,
    run_id: int,
    config: RunConfig,
    corpus: ImportedCorpus,
    chunk: Sequence[PublishedFiles],
    reader: _Reader,
) -> None:
    rows = ImportedRows()
    for files in chunk:
        path = writer.RECORDS.format(files.layer, files.neuron)
        check_lengths(files, corpus.excerpt_tokens, reader.where(path))
        add_rows(rows, run_id, config, corpus, files)
    with transaction(engine) as connection:
        corpus.save(connection)
        imports.save(connection, {f.name: getattr(rows, f.name) for f in fields(rows)})
