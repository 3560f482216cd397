"""The same neurons in two runs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, text


class ScorePair(NamedTuple):
    """The scores of a neuron in two runs, a and b; None where it has none."""

    layer: int
    neuron: int
    a: float | None
    b: float | None


@dataclass(frozen=True, slots=True)
class NeuronPair:
    """One neuron in two runs, a and b. USD are those of its calls."""

    layer: int
    neuron: int
    score_a: float | None
    score_b: float | None
    explanation_a: str | None
    explanation_b: str | None
    usd_a: float | None
    usd_b: float | None


@dataclass(frozen=True, slots=True)
class RunTotals:
    """How many neurons a run is about, how many are explained and scored, and what it paid."""

    neurons: int
    explained: int
    scored: int
    calls: int
    usd: float


_PAIRED = """
    FROM neuron AS one
    JOIN neuron AS other
      ON other.run_id = :b AND (other.layer, other.neuron) = (one.layer, one.neuron)
    LEFT JOIN score AS score_a
      ON (score_a.run_id, score_a.layer, score_a.neuron) = (:a, one.layer, one.neuron)
    LEFT JOIN score AS score_b
      ON (score_b.run_id, score_b.layer, score_b.neuron) = (:b, one.layer, one.neuron)
    LEFT JOIN explanation AS text_a
      ON (text_a.run_id, text_a.layer, text_a.neuron) = (:a, one.layer, one.neuron)
    LEFT JOIN explanation AS text_b
      ON (text_b.run_id, text_b.layer, text_b.neuron) = (:b, one.layer, one.neuron)
"""
_COLUMNS = """
    one.layer, one.neuron, score_a.score AS score_a, score_b.score AS score_b,
    text_a.text AS explanation_a, text_b.text AS explanation_b
"""
# UNION, not UNION ALL: the answer of one call may hold several records of a neuron, and is paid
# once.
_CALLS = """
    SELECT run_id, layer, neuron, call FROM explanation
    UNION SELECT run_id, layer, neuron, call FROM simulation
    UNION SELECT run_id, layer, neuron, call FROM scorer_result
"""


def scores(connection: Connection, a: int, b: int) -> list[ScorePair]:
    """Return both scores of the neurons that both runs are about, in order."""
    query = text(f"""
        SELECT one.layer, one.neuron, score_a.score, score_b.score {_PAIRED}
        WHERE one.run_id = :a ORDER BY one.layer, one.neuron
    """)
    return [ScorePair(*row) for row in connection.execute(query, {"a": a, "b": b})]


def pairs(connection: Connection, a: int, b: int) -> Iterator[NeuronPair]:
    """Yield the neurons that both runs are about, with what each run has of them, in order."""
    query = text(f"""
        WITH cost AS (
            SELECT asked.run_id, layer, neuron, sum(usd) AS usd
            FROM ({_CALLS}) AS asked JOIN call ON call.identity = asked.call
            WHERE asked.run_id IN (:a, :b) GROUP BY 1, 2, 3)
        SELECT {_COLUMNS}, cost_a.usd AS usd_a, cost_b.usd AS usd_b {_PAIRED}
        LEFT JOIN cost AS cost_a
          ON (cost_a.run_id, cost_a.layer, cost_a.neuron) = (:a, one.layer, one.neuron)
        LEFT JOIN cost AS cost_b
          ON (cost_b.run_id, cost_b.layer, cost_b.neuron) = (:b, one.layer, one.neuron)
        WHERE one.run_id = :a ORDER BY one.layer, one.neuron
    """)  # noqa: S608
    # A cursor on the server's side: all of GPT-2 XL would take gigabytes here.
    rows = connection.execution_options(yield_per=2000).execute(query, {"a": a, "b": b})
    return (NeuronPair(*row) for row in rows)


def furthest_apart(connection: Connection, a: int, b: int, limit: int) -> list[NeuronPair]:
    """Return the neurons whose scores differ most."""
    # Costs of the listed neurons alone: those of all neurons take a pass over all calls.
    usd = f"""
        (SELECT sum(usd) FROM call WHERE identity IN (
            SELECT call FROM ({_CALLS}) AS asked WHERE (asked.run_id, asked.layer, asked.neuron)
                = (:{{run}}, found.layer, found.neuron))) AS usd_{{run}}
    """  # noqa: S608
    query = text(f"""
        SELECT found.*, {usd.format(run="a")}, {usd.format(run="b")}
        FROM (
            SELECT {_COLUMNS} {_PAIRED}
            WHERE one.run_id = :a AND score_a.score IS NOT NULL AND score_b.score IS NOT NULL
            ORDER BY abs(score_a.score - score_b.score) DESC, one.layer, one.neuron
            LIMIT :limit) AS found
        ORDER BY abs(score_a - score_b) DESC, layer, neuron
    """)  # noqa: S608
    rows = connection.execute(query, {"a": a, "b": b, "limit": limit})
    return [NeuronPair(*row) for row in rows]


def totals(connection: Connection, run_id: int) -> RunTotals:
    """Return how far a run is, and what it paid."""
    query = text("""
        SELECT (SELECT count(*) FROM neuron WHERE run_id = :run) AS neurons,
               (SELECT count(*) FROM explanation WHERE run_id = :run) AS explained,
               (SELECT count(score) FROM score WHERE run_id = :run) AS scored,
               (SELECT coalesce(sum(calls), 0)::bigint FROM spend WHERE run_id = :run) AS calls,
               (SELECT coalesce(sum(usd + wasted_usd), 0) FROM spend WHERE run_id = :run) AS usd
    """)
    return RunTotals(*connection.execute(query, {"run": run_id}).one())


def equal_explanations(connection: Connection, a: int, b: int) -> int:
    """Return how many neurons both runs explain in the same words."""
    query = text("""
        SELECT count(*) FROM explanation AS one JOIN explanation AS other
          ON (other.run_id, other.layer, other.neuron, other.text)
           = (:b, one.layer, one.neuron, one.text)
        WHERE one.run_id = :a
    """)
    return int(connection.execute(query, {"a": a, "b": b}).scalar_one())
