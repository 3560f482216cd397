"""The neurons of a run as they are stored, for exports to read: one by one, with all of theirs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Generic, TypeVar

import numpy as np
from sqlalchemy import Connection, RowMapping

from db import corpora, datasets
from db.corpora import StoredCorpus
from db.datasets import RunOrigin
from db.runs import StoredRun
from neurogloss.config.run import RunConfig
from neurogloss.neurons.records import FloatArray
from worker.run import load_run
from worker.stages.scored_records import activations_of, scored_places

Rendered = TypeVar("Rendered")

OTHERS = (
    "calibrated_scores",
    "scorers",
    "ablations",
    "candidates",
    "candidate_scores",
    "sentences",
)
MAX_CACHED = 16_384  # excerpts whose tokens a process keeps: some 20 MB


@dataclass(frozen=True, slots=True)
class ExportedRun:
    """A run with what its exports have to know of it."""

    row: StoredRun
    config: RunConfig
    corpus: StoredCorpus
    origin: RunOrigin | None
    is_imported: bool

    @classmethod
    def load(cls, connection: Connection, run_id: int) -> "ExportedRun":
        """Read a run."""
        run = load_run(connection, run_id)
        corpus = corpora.get(connection, run.row.corpus_id)
        origin = datasets.origin(connection, run_id)
        is_imported = datasets.is_imported(connection, run_id)
        return cls(run.row, run.config, corpus, origin, is_imported)


@dataclass(frozen=True, slots=True)
class StoredNeuron:
    """One neuron; what it lacks is None or empty.

    `simulations` are by excerpt, `connections` by table and direction, `baselines` by baseline,
    `others` by kind.
    """

    run: ExportedRun
    layer: int
    neuron: int
    records: RowMapping
    explanation: RowMapping | None
    simulations: Mapping[int, RowMapping]
    score: RowMapping | None
    token_means: RowMapping | None
    connections: Mapping[tuple[str, str], RowMapping]
    baselines: Mapping[str, RowMapping]
    imported: RowMapping | None
    others: Mapping[str, Sequence[RowMapping]]

    @property
    def activations(self) -> FloatArray:
        """Return the activations of its records, float16 (n_records, excerpt_tokens)."""
        return activations_of(self.records)

    def scored(self) -> list[int]:
        """Return where the records that are simulated stand among its records, in order.

        A record that has no simulation, because the neuron failed, is left out.
        """
        if self.imported is not None and self.imported["scored_excerpts"] is not None:
            places = [self._place(excerpt) for excerpt in self.imported["scored_excerpts"]]
        else:
            places, _ = scored_places(self.records, self.run.config.scoring)
        excerpts = self.records["excerpts"]
        return [place for place in places if excerpts[place] in self.simulations]

    def _place(self, excerpt: int) -> int:
        place: int = self.records["excerpts"].index(excerpt)
        return place

    def expected(self, places: Sequence[int]) -> FloatArray:
        """Return the expected activations on some records, float16 (n, excerpt_tokens)."""
        found = [self.simulation(place)["expected_activations"] for place in places]
        stored: FloatArray = np.frombuffer(b"".join(found), np.float16)
        return stored.reshape(len(places), self.activations.shape[1])

    def simulation(self, place: int) -> RowMapping:
        """Return the simulation on a record."""
        return self.simulations[self.records["excerpts"][place]]


def stored_neurons(connection: Connection, run: ExportedRun, layer: int) -> Iterator[StoredNeuron]:
    """Yield the neurons of a layer that have records, in order."""
    run_id = run.row.id
    parts = {kind: _Part(connection, kind, run_id, layer) for kind in datasets.STORED}
    records = parts.pop("records")
    for neuron, (row,) in records.groups:
        found = {kind: part.of(neuron) for kind, part in parts.items()}
        yield StoredNeuron(
            run=run,
            layer=layer,
            neuron=neuron,
            records=row,
            explanation=_only(found["explanations"]),
            simulations={one["excerpt"]: one for one in found["simulations"]},
            score=_only(found["scores"]),
            token_means=_only(found["token_means"]),
            connections={
                (kind, one["direction"]): one
                for kind in ("related_neurons", "related_tokens")
                for one in found[kind]
            },
            baselines={one["baseline"]: one for one in found["baseline_scores"]},
            imported=_only(found["imported"]),
            others={kind: found[kind] for kind in OTHERS},
        )


def _only(rows: Sequence[RowMapping]) -> RowMapping | None:
    return rows[0] if rows else None


class _Part:
    """The rows of one table, neuron by neuron, read beside those of the others."""

    def __init__(self, connection: Connection, kind: str, run_id: int, layer: int) -> None:
        rows = datasets.stream(connection, kind, run_id, layer)
        self.groups = ((n, list(found)) for n, found in groupby(rows, lambda row: row["neuron"]))
        self._next: tuple[Any, list[RowMapping]] | None = (-1, [])

    def of(self, neuron: int) -> list[RowMapping]:
        """Return the rows of a neuron; neurons are asked for in order."""
        while self._next is not None and self._next[0] < neuron:
            self._next = next(self.groups, None)
        return self._next[1] if self._next is not None and self._next[0] == neuron else []


class ExcerptTexts(Generic[Rendered]):
    """The tokens of excerpts as text, in the form that a format writes them in.

    Neurons share their excerpts: each is read and rendered once, as long as `MAX_CACHED` suffice.
    """

    def __init__(
        self,
        connection: Connection,
        run: ExportedRun,
        render: Callable[[list[str]], Rendered],
    ) -> None:
        self._connection = connection
        self._corpus_id = run.corpus.id
        self.texts = corpora.token_texts(connection, run.corpus.vocabulary_id)
        self._render = render
        self._cached: dict[int, Rendered] = {}

    def of(self, excerpts: Sequence[int]) -> list[Rendered]:
        """Return the excerpts, rendered."""
        missing = [excerpt for excerpt in excerpts if excerpt not in self._cached]
        if missing:
            if len(self._cached) + len(missing) > MAX_CACHED:
                self._cached.clear()
                missing = list(excerpts)
            stored = corpora.excerpts_named(self._connection, self._corpus_id, missing)
            for excerpt, tokens in stored.items():
                self._cached[excerpt] = self._render(self._read(tokens))
        return [self._cached[excerpt] for excerpt in excerpts]

    def _read(self, tokens: bytes) -> list[str]:
        return [self.texts[token] for token in np.frombuffer(tokens, np.int32).tolist()]
