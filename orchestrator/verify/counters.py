"""Do counters agree with their rows, and shards with the neurons that they are made of?"""

from collections.abc import Iterator

from sqlalchemy import Connection, RowMapping

from db import shards, verification
from db.progress import SPEND_COLUMNS
from orchestrator.verify.differences import Difference, changes


def check_counters(connection: Connection, run: RowMapping) -> Iterator[Difference]:
    """Yield what is wrong with the counters of a run, and with what they add up."""
    run_id = run["id"]
    for row in verification.shard_counts(connection, run_id):
        what = changes(row, row, ("weight", "done", "failed"))
        yield Difference("shards", shard_name(row), what)
    for row in verification.progress(connection, run_id):
        what = changes(row, row, ("total", "done", "failed"))
        yield Difference("progress", stage_name(row), what)
    for row in verification.spend(connection, run_id):
        what = changes(row, row, SPEND_COLUMNS)
        yield Difference("spend", f"{row['stage']} {row['model']}", what)
    for row in verification.throughput(connection, run_id):
        what = f"{row['finished']} were counted by the minute, {row['n']} are finished"
        yield Difference("throughput", row["stage"], what)


def check_shards(connection: Connection, run: RowMapping, n_excerpts: int) -> Iterator[Difference]:
    """Yield where the shards of a run do not cover its neurons and excerpts exactly once."""
    for row in verification.overlaps(connection, run["id"]):
        where = stage_name(row)
        yield Difference("shards", where, f"shards {row['one']} and {row['other']} overlap")
    for row in verification.gaps(connection, run["id"], n_excerpts):
        what = f"shards cover {row['covered']} of {row['wanted']}"
        yield Difference("shards", stage_name(row), what)
    unfinished = shards.unfinished(connection, run["id"])
    if run["state"] == "done" and unfinished:
        yield Difference("shards", "run", f"it is done, but {unfinished} shards are not")


def stage_name(row: RowMapping) -> str:
    """Name a stage, or a step of collect, in a layer."""
    words = [row["stage"], row.get("step") or ""]
    if row["layer"] is not None and row["layer"] >= 0:
        words.append(f"layer {row['layer']}")
    return " ".join(filter(None, words))


def shard_name(row: RowMapping) -> str:
    """Name a shard by its place."""
    return f"shard {row['id']} ({stage_name(row)}, {row['start']} to {row['stop']})"
