"""Check counters against the rows that they count, and shards against neurons and excerpts."""

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection

from db import counter_differences, listed_neurons, shard_coverage, shards
from db.counter_differences import ShardDifference
from db.runs import StoredRun
from orchestrator.verify.differences import Difference, described


def check_counters(connection: Connection, run_id: int) -> Iterator[Difference]:
    """Yield the differences between the counters of a run and the rows that they count."""
    for shard in counter_differences.shard_counts(connection, run_id):
        yield Difference("shards", _shard_name(shard), described(shard.changes))
    for row in counter_differences.progress(connection, run_id):
        yield Difference("progress", _place(row.stage, row.layer), described(row.changes))
    for spend in counter_differences.spend(connection, run_id):
        yield Difference("spend", f"{spend.stage} {spend.model}", described(spend.changes))
    for stage in counter_differences.throughput(connection, run_id):
        what = f"the counts by minute sum to {stage.finished}, {stage.n} neurons are finished"
        yield Difference("throughput", stage.stage, what)


def check_shards(connection: Connection, run: StoredRun, n_excerpts: int) -> Iterator[Difference]:
    """Yield the neurons and excerpts that the shards of a run cover twice or not at all."""
    for pair in shard_coverage.overlaps(connection, run.id):
        where = _place(pair.stage, pair.layer, pair.step)
        yield Difference("shards", where, f"shards {pair.one} and {pair.other} overlap")
    for gap in shard_coverage.gaps(connection, run.id, n_excerpts):
        where = _place(gap.stage, gap.layer, gap.step)
        yield Difference("shards", where, f"shards cover {gap.covered} of {gap.wanted}")
    unfinished = shards.unfinished(connection, run.id)
    if run.state == "done" and unfinished:
        yield Difference("shards", "run", f"it is done, but {unfinished} shards are not")


def check_lists(connection: Connection, run_id: int, layers: Sequence[int]) -> Iterator[Difference]:
    """Yield the neurons of some layers whose rows in lists differ from their results."""
    for row in listed_neurons.differences(connection, run_id, layers):
        where = f"layer {row.layer} neuron {row.neuron}"
        yield Difference("lists", where, "lists do not show it as its results are")


def _place(stage: str, layer: int, step: str = "") -> str:
    """Name a stage, or a step of collect, in a layer; -1 is the whole model."""
    words = [stage, step, f"layer {layer}" if layer >= 0 else ""]
    return " ".join(filter(None, words))


def _shard_name(shard: ShardDifference) -> str:
    place = _place(shard.stage, shard.layer, shard.step)
    return f"shard {shard.id} ({place}, {shard.start} to {shard.stop})"
