"""A run as Parquet: one table of each kind, which `datasets.load_dataset` and DuckDB read.

Each layer is a file of each table, but for the excerpts, which are of the run as a whole. Records
and simulations name their excerpt; its tokens stand in `excerpts`.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection

from db import corpora, datasets
from neurogloss.neurons.records import MAX_NORMALIZED
from orchestrator.datasets import description
from orchestrator.datasets.files import Folder
from orchestrator.datasets.parquet import data_card
from orchestrator.datasets.parquet.schemas import SCHEMAS, SCORES
from orchestrator.datasets.stored import ExportedRun, StoredNeuron, stored_neurons

ROWS_AT_ONCE = 4096  # of a row group, so that memory does not grow with a layer

PLAIN = ("calibrated_scores", "scorers", "ablations", "candidates", "candidate_scores")
"""Tables whose rows are written as they are stored."""

Row = tuple[Any, ...]


class _Table:
    """Writes rows to a Parquet file, some thousands at a time. Without rows there is no file."""

    def __init__(self, name: str, file: Path) -> None:
        self._schema, self._file = SCHEMAS[name], file
        self._writer: Any = None
        self._rows: list[Row] = []

    def add(self, rows: Iterator[Row]) -> None:
        self._rows.extend(rows)
        if len(self._rows) >= ROWS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            if self._writer is None:
                self._writer = pq.ParquetWriter(self._file, self._schema, compression="zstd")
            columns = zip(*self._rows, strict=True)
            arrays = [
                pa.array(column, type=field.type)
                for column, field in zip(columns, self._schema, strict=True)
            ]
            self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
            self._rows = []

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


@contextmanager
def _open(folder: Folder, name: str, path: str) -> Iterator[_Table]:
    with folder.new_file(path) as file, closing(_Table(name, file)) as table:
        yield table
        table.flush()


def write_layer(
    connection: Connection,
    run: ExportedRun,
    layer: int,
    folder: Folder,
    on_neuron: Callable[[], Any],
) -> None:
    """Write the files of a layer."""
    texts = corpora.token_texts(connection, run.corpus.vocabulary_id)
    with ExitStack() as files:
        tables = {
            name: files.enter_context(_open(folder, name, f"{name}/layer-{layer:02d}.parquet"))
            for name in SCHEMAS
            if name != "excerpts"
        }
        for neuron in stored_neurons(connection, run, layer):
            for name, rows in _rows_of(neuron, texts).items():
                tables[name].add(rows)
            on_neuron()


def _rows_of(neuron: StoredNeuron, texts: list[str]) -> dict[str, Iterator[Row]]:
    key = neuron.layer, neuron.neuron
    return {
        "neurons": iter([_neuron_row(neuron, key)]),
        "records": _record_rows(neuron, key),
        "simulations": _simulation_rows(neuron, key),
        "baselines": (
            (*key, name, *_scores(row), row["undefined_reason"])
            for name, row in neuron.baselines.items()
        ),
        **{name: map(partial(_plain_row, name), neuron.others[name]) for name in PLAIN},
        "sentences": _sentence_rows(neuron, key, texts),
        "token_means": _token_means_rows(neuron, key, texts),
        "related_neurons": (
            (*key, row["direction"], *related)
            for (kind, _), row in neuron.connections.items()
            if kind == "related_neurons"
            for related in zip(row["layers"], row["neurons"], row["weights"], strict=True)
        ),
        "related_tokens": (
            (*key, row["direction"], texts[token], weight)
            for (kind, _), row in neuron.connections.items()
            if kind == "related_tokens"
            for token, weight in zip(row["tokens"], row["weights"], strict=True)
        ),
    }


def _scores(row: Any) -> list[float | None]:
    return [None if row is None else row[name] for name, _ in SCORES]


def _neuron_row(neuron: StoredNeuron, key: Row) -> Row:
    explanation, score, records = neuron.explanation, neuron.score, neuron.records
    reason = score["undefined_reason"] if score else records["undefined_reason"]
    return (
        *key,
        explanation and explanation["text"],
        explanation and explanation["explainer"],
        *_scores(score),
        reason,
        neuron.imported and neuron.imported["published_score"],
        records["max_activation"],
        *(records[name] for name in ("mean", "variance", "skewness", "kurtosis")),
        records["quantile_boundaries"],
    )


def _record_rows(neuron: StoredNeuron, key: Row) -> Iterator[Row]:
    """Yield each record once, with its place among the top, random and bucket records."""
    row = neuron.records
    top = _first_places(row["top_records"])
    drawn = _first_places(row["random_records"])
    buckets = dict(zip(row["bucket_records"], row["buckets"], strict=True))
    activations = neuron.activations.astype(np.float32)
    for place, excerpt in enumerate(row["excerpts"]):
        ranks = top.get(place), drawn.get(place), buckets.get(place)
        yield (*key, excerpt, *ranks, activations[place])


def _first_places(places: list[int]) -> dict[int, int]:
    return {place: rank for rank, place in reversed(list(enumerate(places)))}


def _simulation_rows(neuron: StoredNeuron, key: Row) -> Iterator[Row]:
    for excerpt, row in neuron.simulations.items():
        expected = np.frombuffer(row["expected_activations"], np.float16).astype(np.float32)
        packed = row["distribution"]
        distribution = packed and list(
            np.frombuffer(packed, np.float16).reshape(-1, MAX_NORMALIZED + 1).astype(np.float32)
        )
        yield (*key, excerpt, row["simulator"], row["activation_scale"], expected, distribution)


def _plain_row(name: str, row: Any) -> Row:
    return tuple(row[column] for column in SCHEMAS[name].names)


def _sentence_rows(neuron: StoredNeuron, key: Row, texts: list[str]) -> Iterator[Row]:
    for row in neuron.others["sentences"]:
        named = (row[column] for column in ("number", "text", "is_expected", "for_judging"))
        tokens = np.frombuffer(row["tokens"] or b"", np.int32).tolist()
        activations = np.frombuffer(row["activations"] or b"", np.float16).astype(np.float32)
        yield (*key, *named, [texts[token] for token in tokens], activations)


def _token_means_rows(neuron: StoredNeuron, key: Row, texts: list[str]) -> Iterator[Row]:
    row = neuron.token_means
    if row is None:
        return
    known = np.frombuffer(row["tokens"], np.int32).tolist()
    means = dict(zip(known, np.frombuffer(row["means"], np.float32).tolist(), strict=True))
    for token in row["top_tokens"]:
        mean = means[token]
        yield (*key, texts[token], None if mean != mean else mean)


def write_whole(connection: Connection, run: ExportedRun, folder: Folder) -> None:
    """Write the excerpts, the data card and the description."""
    texts = corpora.token_texts(connection, run.corpus.vocabulary_id)
    with _open(folder, "excerpts", "excerpts/excerpts.parquet") as table:
        for row in datasets.stream_excerpts(connection, run.corpus.id):
            tokens = [texts[token] for token in np.frombuffer(row["tokens"], np.int32).tolist()]
            table.add(iter([(row["excerpt"], row["document"], row["position"], tokens)]))
    tables = [name for name in SCHEMAS if any((folder.root / name).glob("*.parquet"))]
    folder.write("README.md", data_card.data_card(connection, run, tables).encode())
    folder.write(description.FILE, description.description_json(run))
