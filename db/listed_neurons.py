"""Renewing what lists show of neurons, in the transaction that changes a result of theirs.

Rows are locked in the order of their key, so that transactions which renew the same ones cannot
deadlock; and after shards and failures, but before counters, like all that commits of shards lock.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, text

_OF_VIEW = ("state", "score", "score_top", "score_random", "max_activation", "usd")

# What a state is, and which calls a neuron has paid, is said in the view alone. OFFSET 0 keeps the
# subqueries from becoming joins, which would read all of a run for one shard where the statistics
# of its tables are old.
_FOUND = """
    SELECT wanted.run_id, wanted.layer, wanted.neuron, {values},
           (SELECT score FROM baseline_score AS lookup
            WHERE lookup.run_id = wanted.run_id AND lookup.layer = wanted.layer
              AND lookup.neuron = wanted.neuron AND baseline = 'lookup') AS lookup_score,
           (SELECT skewness FROM neuron_records AS records
            WHERE records.run_id = wanted.run_id AND records.layer = wanted.layer
              AND records.neuron = wanted.neuron) AS skewness
    FROM ({wanted}) AS wanted JOIN run ON run.id = wanted.run_id
    CROSS JOIN LATERAL (
        SELECT {columns} FROM neuron_summary AS summary
        WHERE summary.run = run.name AND summary.layer = wanted.layer
          AND summary.neuron = wanted.neuron OFFSET 0) AS found
    ORDER BY 1, 2, 3
"""
_RANGE = """
    SELECT run_id, layer, neuron FROM neuron
    WHERE run_id = :run AND layer = ANY(:layers) AND neuron >= :start AND neuron < :stop
"""
_NAMES = (*_OF_VIEW, "lookup_score", "skewness")


def _found(wanted: str) -> str:
    values = ", ".join(f"found.{name}" for name in _OF_VIEW)
    return _FOUND.format(wanted=wanted, columns=", ".join(_OF_VIEW), values=values)


def _of(table: str) -> str:
    return ", ".join(f"{table}.{name}" for name in _NAMES)


_RENEW = text(f"""
    INSERT INTO listed_neuron AS listed (run_id, layer, neuron, {", ".join(_NAMES)})
    {_found(_RANGE)}
    ON CONFLICT (run_id, layer, neuron) DO UPDATE
    SET ({", ".join(_NAMES)}) = ROW ({_of("EXCLUDED")})
    WHERE ({_of("listed")}) IS DISTINCT FROM ({_of("EXCLUDED")})
""")  # noqa: S608  (names of our own columns)
# A failed neuron has no score. A retry may be of all neurons: this takes a tenth of what `_RENEW`
# takes for each of them.
_RETRIED = text("""
    WITH retried AS MATERIALIZED (
        SELECT listed.layer, listed.neuron,
               CASE WHEN explanation.neuron IS NOT NULL THEN 'explained'
                    WHEN records.neuron IS NOT NULL THEN 'collected' ELSE 'waiting' END AS state
        FROM listed_neuron AS listed
        LEFT JOIN explanation USING (run_id, layer, neuron)
        LEFT JOIN neuron_records AS records USING (run_id, layer, neuron)
        WHERE listed.run_id = :run AND listed.state = 'failed' AND NOT EXISTS (
              SELECT FROM failure WHERE failure.run_id = :run AND failure.layer = listed.layer
                                    AND failure.neuron = listed.neuron)
        ORDER BY listed.layer, listed.neuron FOR UPDATE OF listed)
    UPDATE listed_neuron AS listed SET state = retried.state FROM retried
    WHERE listed.run_id = :run AND listed.layer = retried.layer AND listed.neuron = retried.neuron
""")
_LIST_PLANNED = text("""
    INSERT INTO listed_neuron (run_id, layer, neuron)
    SELECT run_id, layer, neuron FROM neuron WHERE run_id = :run ON CONFLICT DO NOTHING
""")
# Steps of collect finish whole layers, of which they store little: a tenth of the time of `_RENEW`.
# By subqueries, which look each neuron up: while statistics know nothing of a new table, a join may
# compare all of its neurons with each other.
_COLLECTED = text("""
    UPDATE listed_neuron AS listed
    SET (max_activation, skewness, state) = (
        SELECT records.max_activation, records.skewness,
               CASE listed.state WHEN 'waiting' THEN 'collected' ELSE listed.state END
        FROM neuron_records AS records
        WHERE records.run_id = listed.run_id AND records.layer = listed.layer
          AND records.neuron = listed.neuron)
    WHERE run_id = :run AND layer = :layer AND EXISTS (
        SELECT FROM neuron_records AS records
        WHERE records.run_id = listed.run_id AND records.layer = listed.layer
          AND records.neuron = listed.neuron OFFSET 0)
""")
_LOOKED_UP = text("""
    UPDATE listed_neuron AS listed
    SET lookup_score = coalesce((
        SELECT lookup.score FROM baseline_score AS lookup
        WHERE lookup.run_id = listed.run_id AND lookup.layer = listed.layer
          AND lookup.neuron = listed.neuron AND baseline = 'lookup'), lookup_score)
    WHERE run_id = :run AND layer = ANY(:layers)
""")
END = 2**31 - 1  # behind every neuron


def list_planned(connection: Connection, run_id: int) -> None:
    """List the neurons of a run of which nothing is known yet."""
    connection.execute(_LIST_PLANNED, {"run": run_id})


def renew(
    connection: Connection, run_id: int, layers: Sequence[int], start: int = 0, stop: int = END
) -> int:
    """Renew the neurons `start` to `stop` of some layers; return how many were changed."""
    values = {"run": run_id, "layers": list(layers), "start": start, "stop": stop}
    return connection.execute(_RENEW, values).rowcount


def renew_retried(connection: Connection, run_id: int) -> None:
    """Renew the neurons of a run whose failures were forgotten."""
    connection.execute(_RETRIED, {"run": run_id})


def renew_shard(
    connection: Connection, run_id: int, step: str, layer: int, start: int, stop: int
) -> None:
    """Renew the neurons of a shard; `step` is that of collect, or empty."""
    if step == "":
        renew(connection, run_id, [layer], start, stop)
    elif step == "select":
        connection.execute(_COLLECTED, {"run": run_id, "layer": layer})
    elif step in ("lookup", "baselines"):  # whose shards are ranges of layers
        connection.execute(_LOOKED_UP, {"run": run_id, "layers": list(range(start, stop))})


class ListedDifference(NamedTuple):
    """A neuron whose row is missing, or is not what its results say."""

    layer: int
    neuron: int


def differences(
    connection: Connection, run_id: int, layers: Sequence[int]
) -> Iterator[ListedDifference]:
    """Yield the neurons of some layers whose rows are not what `renew` would make of them."""
    for layer in layers:
        values = {"run": run_id, "layers": [layer], "start": 0, "stop": END}
        for row in connection.execute(_DIFFERENCES, values):
            yield ListedDifference(*row)


_DIFFERENCES = text(f"""
    SELECT layer, neuron FROM ({_found(_RANGE)}) AS right_row
    LEFT JOIN listed_neuron AS listed USING (run_id, layer, neuron)
    WHERE ({_of("listed")}) IS DISTINCT FROM ({_of("right_row")}) ORDER BY 1, 2
""")  # noqa: S608  (names of our own columns)
