"""A run and its neurons as all export formats read them: in order, in bounded memory."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection

from db import corpora, datasets
from db.corpora import StoredCorpus
from db.datasets import RunOrigin
from db.neuron import ALL_PARTS, NeuronPart, StoredNeuron, load_neurons
from db.records import NeuronRecordsRow
from db.results import SimulationRow
from db.runs import StoredRun
from neurogloss.config.run import RunConfig
from neurogloss.neurons.records import FloatArray
from neurogloss.neurons.splits import Split, split_places
from worker.run import load_run

Rendered = TypeVar("Rendered")

NEURONS_AT_ONCE = 128  # neurons in memory at the same time, about 40 KB each
# Excerpts whose tokens a process keeps, about 80 MB: all of a run over 50,000 excerpts, each of
# which is a record of many neurons in every layer.
MAX_CACHED = 65_536


@dataclass(frozen=True, slots=True)
class ExportedRun:
    """A run with its configuration, its corpus and, if it was imported, its origin."""

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
class ExportedNeuron:
    """A neuron that has records, and its run."""

    run: ExportedRun
    stored: StoredNeuron
    records: NeuronRecordsRow

    @property
    def layer(self) -> int:
        return self.stored.layer

    @property
    def neuron(self) -> int:
        return self.stored.neuron

    def scored(self) -> list[int]:
        """Return the places of the scored records among the neuron's records, in scoring order.

        Records without a simulation, because the neuron failed, are left out.
        """
        excerpts, imported = self.records.excerpts, self.stored.imported
        if imported is not None and imported.scored_excerpts is not None:
            places = [excerpts.index(excerpt) for excerpt in imported.scored_excerpts]
        else:
            scoring = self.run.config.scoring
            lists = self.records.top_records, self.records.random_records
            places, _ = split_places(*lists, Split.VALID, scoring.top, scoring.random)
        return [place for place in places if excerpts[place] in self.stored.simulations]

    def expected(self, places: Sequence[int]) -> list[FloatArray]:
        """Return the expected activations on the records at `places`, float16 (n_tokens,) each."""
        return [self.simulation(place).expected_activations for place in places]

    def simulation(self, place: int) -> SimulationRow:
        """Return the simulation of the record at a place."""
        return self.stored.simulations[self.records.excerpts[place]]


def exported_neurons(
    connection: Connection,
    run: ExportedRun,
    layer: int,
    excerpts: "ExcerptTexts[Any] | None" = None,
    parts: Collection[NeuronPart] = ALL_PARTS,
) -> Iterator[ExportedNeuron]:
    """Yield the neurons of a layer that have records, in order; `excerpts` has theirs by then.

    `parts` are those that the format has, records and what was imported among them.
    """
    run_id = run.row.id
    neurons = datasets.neurons_with_records(connection, run_id, layer)
    for first in range(0, len(neurons), NEURONS_AT_ONCE):
        group = neurons[first : first + NEURONS_AT_ONCE]
        found = [
            ExportedNeuron(run, stored, stored.records)
            for stored in load_neurons(connection, run_id, layer, group, parts)
            if stored.records is not None
        ]
        if excerpts is not None:  # in one query, where each neuron would ask for its own
            excerpts.load(number for neuron in found for number in neuron.records.excerpts)
        yield from found


class ExcerptTexts(Generic[Rendered]):
    """The tokens of excerpts as text, rendered in the form that an export format writes.

    Neurons share excerpts, so rendered excerpts are cached, at most `MAX_CACHED` of them.
    """

    def __init__(
        self,
        connection: Connection,
        run: ExportedRun,
        render: Callable[[list[str]], Rendered],
        nul: str = "\ufffd",
    ) -> None:
        self._connection = connection
        self._corpus_id = run.corpus.id
        self.texts = corpora.token_texts(connection, run.corpus.vocabulary_id, nul)
        self._render = render
        self._cached: dict[int, Rendered] = {}

    def of(self, excerpts: Sequence[int]) -> list[Rendered]:
        """Return the excerpts, rendered."""
        if any(excerpt not in self._cached for excerpt in excerpts):
            self.load(excerpts)
        return [self._cached[excerpt] for excerpt in excerpts]

    def load(self, excerpts: Iterable[int]) -> None:
        """Render the excerpts that are not cached."""
        wanted = set(excerpts)
        if len(wanted | self._cached.keys()) > MAX_CACHED:
            # The whole cache is dropped: that is rare, and needs no order of use.
            self._cached.clear()
        missing = sorted(wanted - self._cached.keys())
        if not missing:
            return
        stored = corpora.excerpts_named(self._connection, self._corpus_id, missing)
        for excerpt, tokens in stored.items():
            texts = [self.texts[token] for token in tokens.tolist()]
            self._cached[excerpt] = self._render(texts)
