"""What a run leaves behind, and what of it must not depend on what happened to it."""

import hashlib
from typing import Any

from tests.chaos.world import World

ROWS = {
    "records": "SELECT * FROM neuron_records",
    "token means": "SELECT * FROM token_means",
    "explanations": "SELECT * FROM explanation",
    "simulations": "SELECT * FROM simulation",
    "scores": "SELECT * FROM score",
    "failures": "SELECT * FROM failure",
    "calls": "SELECT * FROM call",
    "shards": "SELECT stage, step, layer, start, stop, weight, done, failed, state FROM shard",
    "progress": "SELECT * FROM progress",
    "baselines": "SELECT * FROM baseline_score",
    "related neurons": "SELECT * FROM related_neurons",
    "related tokens": "SELECT * FROM related_tokens",
    "candidates": "SELECT * FROM candidate",
    "candidate scores": "SELECT * FROM candidate_score",
    "sentences": "SELECT * FROM sentence",
    "calibrated scores": "SELECT * FROM calibrated_score",
    "ablations": "SELECT * FROM ablation",
    "excerpts": "SELECT excerpt, document, position, tokens FROM excerpt",
}
# When and how often something was tried may differ, and with the order of the calls what the
# endpoint has cached of them, which has a price.
MAY_DIFFER = {
    "run_id", "created_at", "failed_at", "last_result_at", "attempts", "latency_ms", "request_id",
    "cached_tokens", "usd", "wasted_usd",
}  # fmt: skip

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
"""
_LEFT = """
    SELECT (SELECT count(*) FROM collect_part) AS parts,
           (SELECT count(*) FROM collect_bound) AS bounds,
           (SELECT count(*) FROM batch_request) AS batch_requests
"""


def read_dataset(world: World) -> Dataset:
    """Return the rows of every table that a run fills."""
    found: Dataset = {}
    for name, query in ROWS.items():
        counts = found[name] = {}
        for row in world.rows(query):
            digest = _digest(row)
            counts[digest] = counts.get(digest, 0) + 1
    return found


def _digest(row: dict[str, Any]) -> str:
    values = [
        (column, bytes(value) if isinstance(value, memoryview) else value)
        for column, value in row.items()
        if column not in MAY_DIFFER
    ]
    return hashlib.sha256(repr(values).encode()).hexdigest()


def differences(found: Dataset, undisturbed: Dataset) -> list[str]:
    """Return a line about each table that is not as it should be."""
    lines = []
    for name, rows in undisturbed.items():
        lost = sum(max(0, n - found[name].get(row, 0)) for row, n in rows.items())
        more = sum(max(0, n - rows.get(row, 0)) for row, n in found[name].items())
        if lost or more:
            lines.append(f"{name}: {lost} rows are lost, {more} are there that should not be")
    return lines


def loose_ends(world: World) -> list[str]:
    """Return what does not add up within the database."""
    lines = [
        f"spending is not what the calls add up to: {row}"
        for row in world.rows(_SPENT)
        if row["calls"] or abs(row["usd"]) > 1e-9 or abs(row["wasted_usd"]) > 1e-9
    ]
    (left,) = world.rows(_LEFT)
    return lines + [f"{n} rows of {name} are left" for name, n in left.items() if n]
