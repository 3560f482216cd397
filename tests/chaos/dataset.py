"""What a run leaves behind, and what of it must not depend on what happened to it."""

import hashlib
from typing import Any

from tests.chaos.world import World

_OF_RUN = "WHERE run_id = (SELECT id FROM run WHERE name = :run)"
TABLES = {
    "records": "neuron_records",
    "token means": "token_means",
    "explanations": "explanation",
    "simulations": "simulation",
    "scores": "score",
    "failures": "failure",
    "calls": "call",
    "usage": "call",
    "shards": "shard",
    "progress": "progress",
    "baselines": "baseline_score",
    "related neurons": "related_neurons",
    "related tokens": "related_tokens",
    "candidates": "candidate",
    "candidate scores": "candidate_score",
    "sentences": "sentence",
    "calibrated scores": "calibrated_score",
    "ablations": "ablation",
    "controls": "control_score",
    "control simulations": "control_simulation",
    "scorers": "scorer_result",
    "neurons": "neuron",
    "lists": "listed_neuron",
}
COLUMNS = {
    "usage": "identity, prompt_tokens, completion_tokens",
    "shards": "stage, step, layer, start, stop, weight, done, failed, state",
}
QUERIES = {
    "excerpts": "SELECT excerpt, document, position, tokens FROM excerpt",
    **{
        name: f"SELECT {COLUMNS.get(name, '*')} FROM {table} {_OF_RUN}"  # noqa: S608  (constants)
        for name, table in TABLES.items()
    },
}
# When and how often something was tried may differ, and with the order of the calls what the
# endpoint has cached of them, which has a price.
MAY_DIFFER = {
    "run_id", "created_at", "failed_at", "last_result_at", "attempts", "latency_ms", "request_id",
    "cached_tokens", "usd", "wasted_usd",
}  # fmt: skip
USAGE = {"prompt_tokens", "completion_tokens"}  # which endpoints lie about

Dataset = dict[str, dict[str, int]]  # of each table, how often each row occurs, by its digest

_SPENT = """
    SELECT coalesce(spend.calls, 0) - coalesce(stored.n, 0) AS calls,
           coalesce(spend.usd, 0) - coalesce(stored.usd, 0) AS usd,
           coalesce(spend.wasted_usd, 0) - coalesce(stored.wasted_usd, 0) AS wasted_usd
    FROM spend FULL JOIN (
        SELECT run_id, purpose, model, count(*) AS n, sum(usd) AS usd, sum(wasted_usd) AS wasted_usd
        FROM (SELECT run_id, purpose, model, usd, wasted_usd FROM call UNION ALL
              SELECT run_id, purpose, model, 0, wasted_usd FROM repeated_call) AS paid
        GROUP BY 1, 2, 3) AS stored
      ON spend.run_id = stored.run_id AND stage = purpose AND spend.model = stored.model
    WHERE coalesce(spend.run_id, stored.run_id) = (SELECT id FROM run WHERE name = :run)
"""
_LEFT = f"""
    SELECT (SELECT count(*) FROM collect_part {_OF_RUN}) AS parts,
           (SELECT count(*) FROM collect_bound {_OF_RUN}) AS bounds,
           (SELECT count(*) FROM batch_request {_OF_RUN}) AS batch_requests,
           (SELECT count(*) FROM batch_wait {_OF_RUN}) AS batch_waits,
           (SELECT count(*) FROM batch {_OF_RUN} AND state <> 'ended') AS batches,
           (SELECT count(*) FROM budget_hold {_OF_RUN} AND expires_at = 'infinity') AS holds
"""  # noqa: S608  (a constant)
_IMPOSSIBLE = """
    SELECT count(*) AS n FROM call
    WHERE prompt_tokens < 0 OR completion_tokens < 0 OR usd < 0 OR wasted_usd < 0
       OR cached_tokens NOT BETWEEN 0 AND prompt_tokens
"""
_HOLDERS = f"SELECT process FROM budget_hold {_OF_RUN}"  # noqa: S608  (a constant)
_STORED = "SELECT (SELECT count(*) FROM call) + (SELECT count(*) FROM repeated_call) AS n"


def read_dataset(world: World) -> Dataset:
    """Return the rows of every table that a run fills."""
    found: Dataset = {}
    for name, query in QUERIES.items():
        counts = found[name] = {}
        for row in world.rows(query, run=World.RUN):
            digest = _digest(row, MAY_DIFFER | (USAGE if name == "calls" else set()))
            counts[digest] = counts.get(digest, 0) + 1
    return found


def _digest(row: dict[str, Any], may_differ: set[str]) -> str:
    values = [
        (column, bytes(value) if isinstance(value, memoryview) else value)
        for column, value in row.items()
        if column not in may_differ
    ]
    return hashlib.sha256(repr(values).encode()).hexdigest()


def differences(found: Dataset, undisturbed: Dataset, lies: int = 0) -> list[str]:
    """Return a line about each table that is not as it should be.

    `lies` are the answers whose usage may differ.
    """
    lines = []
    for name, rows in undisturbed.items():
        lost = sum(max(0, n - found[name].get(row, 0)) for row, n in rows.items())
        more = sum(max(0, n - rows.get(row, 0)) for row, n in found[name].items())
        if name == "usage" and lost == more <= lies:
            continue
        if lost or more:
            lines.append(f"{name}: {lost} rows are lost, {more} are there that should not be")
    return lines


def loose_ends(world: World) -> list[str]:
    """Return what does not add up within the database."""
    lines = [
        f"spending is not what the calls add up to: {row}"
        for row in world.rows(_SPENT, run=World.RUN)
        if row["calls"] or abs(row["usd"]) > 1e-9 or abs(row["wasted_usd"]) > 1e-9
    ]
    (impossible,) = world.rows(_IMPOSSIBLE)
    if impossible["n"]:
        lines.append(f"{impossible['n']} calls have an impossible usage or price")
    (left,) = world.rows(_LEFT, run=World.RUN)
    return lines + [f"{n} rows of {name} are left" for name, n in left.items() if n]


def holders(world: World) -> list[str]:
    """Return which processes hold a part of the run's budget: by host, number and a mark."""
    return [row["process"] for row in world.rows(_HOLDERS, run=World.RUN)]


def stored_answers(world: World) -> int:
    """Return how many answers are stored, of all runs, with those that were paid for twice."""
    return int(world.rows(_STORED)[0]["n"])
