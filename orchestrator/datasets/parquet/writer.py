"""Write a run as Parquet tables for `datasets.load_dataset` and DuckDB.

Each table has one file per layer, except `excerpts`, which has one file for the whole run. Records
and simulations refer to their excerpt by number; its tokens are in `excerpts`.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection

from db import corpora, datasets
from db.evaluations import BaselineScoreRow
from db.results import ScoreRow
from orchestrator.datasets import description
from orchestrator.datasets.exported import ExportedNeuron, ExportedRun, exported_neurons
from orchestrator.datasets.files import Folder
from orchestrator.datasets.parquet import data_card
from orchestrator.datasets.parquet.schemas import SCHEMAS, SCORES

ROWS_AT_ONCE = 4096  # rows per row group; bounds the memory for a layer

Row = tuple[Any, ...]


class _Table:
    """Writes rows to a Parquet file in row groups. Without rows no file is created."""

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
    """Write one file for each table that has rows about a layer."""
    texts = corpora.token_texts(connection, run.corpus.vocabulary_id)
    with ExitStack() as files:
        tables = {
            name: files.enter_context(_open(folder, name, f"{name}/layer-{layer:02d}.parquet"))
            for name in SCHEMAS
            if name != "excerpts"
        }
        for neuron in exported_neurons(connection, run, layer):
            for name, rows in _rows_of(neuron, texts).items():
                tables[name].add(rows)
            on_neuron()


def _rows_of(neuron: ExportedNeuron, texts: list[str]) -> dict[str, Iterator[Row]]:
    key, stored = (neuron.layer, neuron.neuron), neuron.stored
    return {
        "neurons": iter([_neuron_row(neuron, key)]),
        "records": _record_rows(neuron, key),
        "simulations": _simulation_rows(neuron, key),
        "baselines": (
            (*key, name, *_scores(row), row.undefined_reason)
            for name, row in stored.baselines.items()
        ),
        "calibrated_scores": _as_stored("calibrated_scores", stored.calibrated.values()),
        "scorers": _as_stored("scorers", stored.scorers.values()),
        "ablations": _as_stored("ablations", [stored.ablation] if stored.ablation else []),
        "controls": _as_stored("controls", [stored.control] if stored.control else []),
        "control_simulations": (
            (*key, excerpt, row.expected_activations.astype(np.float32))
            for excerpt, row in stored.control_simulations.items()
        ),
        "candidates": _as_stored("candidates", stored.candidates),
        "candidate_scores": _as_stored("candidate_scores", stored.candidate_scores),
        "sentences": _sentence_rows(neuron, key, texts),
        "notes": _as_stored("notes", stored.notes),
        "token_means": _token_means_rows(neuron, key, texts),
        "related_neurons": (
            (*key, row.direction, *related)
            for row in stored.related_neurons.values()
            for related in zip(row.layers, row.neurons, row.weights, strict=True)
        ),
        "related_tokens": (
            (*key, row.direction, texts[token], weight)
            for row in stored.related_tokens.values()
            for token, weight in zip(row.tokens, row.weights, strict=True)
        ),
    }


def _as_stored(name: str, rows: Iterable[object]) -> Iterator[Row]:
    """Return rows whose columns are the attributes of the stored rows, unchanged."""
    return map(attrgetter(*SCHEMAS[name].names), rows)


def _scores(row: ScoreRow | BaselineScoreRow | None) -> list[float | None]:
    return [None if row is None else getattr(row, name) for name, _ in SCORES]


def _neuron_row(neuron: ExportedNeuron, key: Row) -> Row:
    stored, records = neuron.stored, neuron.records
    explanation, score, imported = stored.explanation, stored.score, stored.imported
    return (
        *key,
        explanation and explanation.text,
        explanation and explanation.explainer,
        *_scores(score),
        score.undefined_reason if score else records.undefined_reason,
        imported and imported.published_score,
        records.max_activation,
        *(getattr(records, name) for name in ("mean", "variance", "skewness", "kurtosis")),
        records.quantile_boundaries,
    )


def _record_rows(neuron: ExportedNeuron, key: Row) -> Iterator[Row]:
    """Yield each record once, with its rank among top and random records and its bucket."""
    row = neuron.records
    top = _first_places(row.top_records)
    drawn = _first_places(row.random_records)
    buckets = dict(zip(row.bucket_records, row.buckets, strict=True))
    for place, (excerpt, activations) in enumerate(zip(row.excerpts, row.on_all(), strict=True)):
        ranks = top.get(place), drawn.get(place), buckets.get(place)
        yield (*key, excerpt, *ranks, activations.astype(np.float32))


def _first_places(places: list[int]) -> dict[int, int]:
    # A record may be drawn several times: reversed, so that its first rank is written last.
    return {place: rank for rank, place in reversed(list(enumerate(places)))}


def _simulation_rows(neuron: ExportedNeuron, key: Row) -> Iterator[Row]:
    for excerpt, row in neuron.stored.simulations.items():
        expected = row.expected_activations.astype(np.float32)
        distribution = (
            None if row.distribution is None else list(row.distribution.astype(np.float32))
        )
        scale = row.activation_scale
        yield (*key, excerpt, row.simulator, scale, expected, distribution, row.covered)


def _sentence_rows(neuron: ExportedNeuron, key: Row, texts: list[str]) -> Iterator[Row]:
    for row in neuron.stored.sentences:
        tokens = [] if row.tokens is None else row.tokens.tolist()
        activations = np.empty(0) if row.activations is None else row.activations
        flags = (row.is_expected, row.for_judging)
        words = [texts[token] for token in tokens]
        yield (*key, row.number, row.text, *flags, words, activations.astype(np.float32))


def _token_means_rows(neuron: ExportedNeuron, key: Row, texts: list[str]) -> Iterator[Row]:
    row = neuron.stored.token_means
    if row is not None:
        for token, mean in row.top_means():
            yield (*key, texts[token], None if math.isnan(mean) else mean)


def write_whole(connection: Connection, run: ExportedRun, folder: Folder) -> None:
    """Write the excerpts, the data card and the description."""
    texts = corpora.token_texts(connection, run.corpus.vocabulary_id)
    with _open(folder, "excerpts", "excerpts/excerpts.parquet") as table:
        for row in datasets.stream_excerpts(connection, run.corpus.id):
            tokens = [texts[token] for token in row.tokens.tolist()]
            table.add(iter([(row.excerpt, row.document, row.position, tokens)]))
    # `load_dataset` fails where a pattern of the data card matches no file.
    tables = [name for name in SCHEMAS if any((folder.root / name).glob("*.parquet"))]
    folder.write("README.md", data_card.data_card(connection, run, tables).encode())
    folder.write(description.FILE, description.description_json(run))
