"""The values of a run's plots, counted by the database: no plot loads a row for each neuron."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from db import call_minutes
from db.runs import StoredRun

BINS_A_UNIT = 20
"""Bins of scores between 0 and 1, and between -1 and 0."""
_MOST_SPANS = 300  # points of a curve: about one for two pixels of a plot
_SPAN_MINUTES = (1, 2, 5, 10, 15, 30, 60, 120, 240, 720, 1440)


@dataclass(frozen=True, slots=True)
class ScoreBins:
    """How many scores lie in each twentieth: `counts[i]` from `start + i / 20` on."""

    kind: str
    start: float
    counts: list[int]
    n: int
    mean: float


@dataclass(frozen=True, slots=True)
class PairedCell:
    """Neurons whose lookup score and explanation score lie in one square of 1/20.

    `third` is that of the model's depth: 0, 1 or 2. `lookup` and `explanation` are where the square
    begins.
    """

    third: int
    lookup: float
    explanation: float
    n: int
    n_above: int


@dataclass(frozen=True, slots=True)
class ControlCell:
    """Neurons whose score and control lie in one square of 1/20; both are where it begins.

    `n_above` of the `n` neurons score better with their own explanation.
    """

    control: float
    explanation: float
    n: int
    n_above: int


@dataclass(frozen=True, slots=True)
class SparsityBin:
    """Neurons whose activations have a kurtosis of at least `low` and below `high`."""

    low: float
    high: float
    n: int
    score: float
    quartile_1: float
    quartile_3: float
    lookup: float | None


@dataclass(frozen=True, slots=True)
class Finished:
    """How many neurons a stage finished in the span of time that began at `start`."""

    start: datetime
    stage: str
    n: int


@dataclass(frozen=True, slots=True)
class Paid:
    """What the calls of a stage cost, in USD, in the span of time that began at `start`."""

    start: datetime
    stage: str
    usd: float


# A score of 1 belongs to the last bin; scores are correlations, so that nothing lies beyond -1 and
# 1.
BIN = f"least({BINS_A_UNIT - 1}, greatest({-BINS_A_UNIT}, floor({{}} * {BINS_A_UNIT})))::int"
_SCORES = text(f"""
    SELECT kind, {BIN.format("score")} AS bin, count(*), sum(score)
    FROM (SELECT 'explanation' AS kind, score FROM listed_neuron WHERE run_id = :run
          UNION ALL SELECT 'lookup', lookup_score FROM listed_neuron WHERE run_id = :run) AS scored
    WHERE score IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2
""")  # noqa: S608  (constants)
_CELLS = text(f"""
    SELECT least(2, layer * 3 / CAST(:n_layers AS int)) AS third,
           {BIN.format("lookup_score")} AS lookup, {BIN.format("score")} AS explanation,
           count(*), count(*) FILTER (WHERE gap > 0)
    FROM listed_neuron WHERE run_id = :run AND gap IS NOT NULL
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
""")  # noqa: S608  (constants)
_CONTROLS = text(f"""
    SELECT {BIN.format("control_score.score")} AS control, {BIN.format("score.score")} AS own,
           count(*), count(*) FILTER (WHERE score.score > control_score.score)
    FROM control_score JOIN score USING (run_id, layer, neuron)
    WHERE run_id = :run AND control_score.score IS NOT NULL AND score.score IS NOT NULL
    GROUP BY 1, 2 ORDER BY 1, 2
""")  # noqa: S608  (constants)
# Bins of half a unit of the logarithm: kurtosis spreads over orders of magnitude.
_SPARSITY = text("""
    SELECT floor(2 * ln(kurtosis))::int AS bin, count(*), avg(score),
           percentile_cont(0.25) WITHIN GROUP (ORDER BY score),
           percentile_cont(0.75) WITHIN GROUP (ORDER BY score), avg(lookup_score)
    FROM listed_neuron JOIN neuron_records USING (run_id, layer, neuron)
    WHERE run_id = :run AND score IS NOT NULL AND kurtosis >= 1 GROUP BY 1 ORDER BY 1
""")
_FINISHED = text("""
    SELECT date_bin(:width, minute, '2020-01-01Z') AS start, stage, sum(finished)::bigint
    FROM throughput WHERE run_id = :run AND stage <> 'collect' GROUP BY 1, 2 ORDER BY 1, 2
""")


def score_bins(connection: Connection, run_id: int) -> list[ScoreBins]:
    """Return the distribution of a run's scores, and that of its lookup baseline."""
    rows = connection.execute(_SCORES, {"run": run_id}).all()
    return [
        _bins(kind, [(b, n, total) for each, b, n, total in rows if each == kind])
        for kind in sorted({row[0] for row in rows})
    ]


def _bins(kind: str, rows: Sequence[tuple[int, int, float]]) -> ScoreBins:
    counts = {bin: n for bin, n, _ in rows}
    first, n = min(0, *counts), sum(counts.values())
    return ScoreBins(
        kind=kind,
        start=first / BINS_A_UNIT,
        counts=[counts.get(bin, 0) for bin in range(first, BINS_A_UNIT)],
        n=n,
        mean=sum(total for _, _, total in rows) / n,
    )


def paired_cells(connection: Connection, run: StoredRun) -> list[PairedCell]:
    """Return how the scores of a run's explanations stand to those of the lookup baseline."""
    rows = connection.execute(_CELLS, {"run": run.id, "n_layers": run.n_layers})
    return [
        PairedCell(third, lookup / BINS_A_UNIT, explanation / BINS_A_UNIT, n, n_above)
        for third, lookup, explanation, n, n_above in rows
    ]


def control_cells(connection: Connection, run_id: int) -> list[ControlCell]:
    """Return how scores stand to those with other neurons' explanations."""
    rows = connection.execute(_CONTROLS, {"run": run_id})
    return [
        ControlCell(control / BINS_A_UNIT, own / BINS_A_UNIT, n, n_above)
        for control, own, n, n_above in rows
    ]


def sparsity_bins(connection: Connection, run_id: int) -> list[SparsityBin]:
    """Return scores by the kurtosis of activations, which is high where a neuron fires seldom."""
    bounds = [math.exp(step / 2) for step in range(60)]
    rows = connection.execute(_SPARSITY, {"run": run_id})
    return [SparsityBin(bounds[bin], bounds[bin + 1], *values) for bin, *values in rows]


def span_of(run: StoredRun, now: datetime) -> timedelta:
    """Return the width of spans of which a run's time has at most some hundred."""
    minutes = ((run.finished_at or now) - run.created_at) / timedelta(minutes=1)
    found = (width for width in _SPAN_MINUTES if minutes / width <= _MOST_SPANS)
    return timedelta(minutes=next(found, _SPAN_MINUTES[-1]))


def finished(connection: Connection, run_id: int, width: timedelta) -> list[Finished]:
    """Return how many neurons the stages of a run finished, over spans of time, in order."""
    rows = connection.execute(_FINISHED, {"run": run_id, "width": width})
    return [Finished(*row) for row in rows]


def paid(connection: Connection, run: StoredRun, now: datetime, width: timedelta) -> list[Paid]:
    """Return what a run's calls cost, over spans of time, in order."""
    since = now - run.created_at + timedelta(minutes=1)
    spans = call_minutes.spans(connection, run.id, since, width)
    sums: dict[tuple[datetime, str], float] = {}
    for start, calls in spans:
        sums[start, calls.stage] = sums.get((start, calls.stage), 0.0) + calls.usd
    return [Paid(start, stage, usd) for (start, stage), usd in sorted(sums.items())]
