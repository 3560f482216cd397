"""The content of a run's report, read once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection

from db import corpora, datasets, plot_values
from db.corpora import StoredCorpus
from db.datasets import RunOrigin
from db.neuron_filter import NeuronFilter
from db.neuron_list import NeuronOrder, neuron_page
from db.neuron_place import Place
from db.neuron_sample import drawn_neurons
from db.neuron_value import neuron_value
from db.plot_values import ScoreBins
from db.runs import StoredRun
from web.neuron_view import NeuronView, Shown
from web.overview.heat import HeatPicture, draw, load_heat_map
from web.overview.page import RunPage, load_page, read_results
from web.plots.catalog import PLOTS, Plot
from web.plots.style import Drawing

RECORDS = 3
"""Scored records that a report shows of a neuron: those furthest from their simulation."""

Say = Callable[[int, int], Any]
"""Is called with how many neurons and plots are done, and how many there are."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ReportPlot:
    """A plot, and its SVG by theme."""

    drawing: Drawing
    svgs: dict[str, str]


@dataclass(frozen=True, slots=True)
class NeuronGroup:
    """Some neurons, and how they were chosen."""

    title: str
    says: str
    neurons: list[NeuronView]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """A run as it was at `written_at`; `scores` is None where it has none."""

    run: StoredRun
    page: RunPage
    origin: RunOrigin | None
    corpus: StoredCorpus
    scores: ScoreBins | None
    heat: HeatPicture
    plots: list[ReportPlot]
    groups: list[NeuronGroup]
    written_at: datetime
    version: str


def load_report(
    connection: Connection, run: StoredRun, n: int, version: str, say: Say = lambda *_: None
) -> RunReport:
    """Return the report of a run, with `n` of the best, of the worst and of random neurons."""
    chosen = _chosen(connection, run, n)
    total = len(PLOTS) + sum(len(places) for *_, places in chosen)
    done = 0

    def count(value: T) -> T:
        nonlocal done
        done += 1
        say(done, total)
        return value

    bins = plot_values.score_bins(connection, run.id)
    return RunReport(
        run=run,
        page=load_page(connection, run, "score", partial(read_results, connection)),
        origin=datasets.origin(connection, run.id),
        corpus=corpora.get(connection, run.corpus_id),
        scores=next((each for each in bins if each.kind == "explanation"), None),
        heat=draw(load_heat_map(connection, run), "score"),
        plots=[count(_plot(connection, run, plot)) for plot in PLOTS.values()],
        groups=[
            NeuronGroup(title, says, [count(_view(connection, run, place)) for place in places])
            for title, says, places in chosen
        ],
        written_at=datetime.now(UTC),
        version=version,
    )


def _chosen(
    connection: Connection, run: StoredRun, n: int
) -> Sequence[tuple[str, str, list[Place]]]:
    def by_score(*, best: bool) -> list[Place]:
        order = NeuronOrder("score", descending=best)
        scored = NeuronFilter(states=("scored",))
        found = neuron_page(connection, run.id, scored, order, size=n).neurons if n else []
        return [Place(neuron.layer, neuron.neuron) for neuron in found]

    return (
        ("Best neurons", "The highest scores of the run.", by_score(best=True)),
        ("Worst neurons", "The lowest scores of the run.", by_score(best=False)),
        (
            "Random neurons",
            "Drawn from all that have a score, whatever it is.",
            drawn_neurons(connection, run.id, n),
        ),
    )


def _plot(connection: Connection, run: StoredRun, plot: Plot) -> ReportPlot:
    return ReportPlot(plot.drawing, plot.drawing.svgs(plot.load(connection, run)))


def _view(connection: Connection, run: StoredRun, place: Place) -> NeuronView:
    value = neuron_value(connection, run, place.layer, place.neuron, {})
    assert value is not None  # it was listed in the same snapshot
    # Distributions are most of the bytes of a neuron, and a report has many neurons.
    records = [replace(record, distribution=None) for record in value.scored_records[:RECORDS]]
    return NeuronView(replace(value, scored_records=records), Shown(), is_file=True)
