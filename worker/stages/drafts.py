"""The drafts of explanations that a shard's neurons have, and which of them is kept."""

from collections import defaultdict

from sqlalchemy import Connection, RowMapping

from db import candidates
from worker.shard import ClaimedShard
from worker.stages.candidates import best


def drafts_of(connection: Connection, shard: ClaimedShard) -> dict[int, list[RowMapping]]:
    """Return the drafts of each neuron that has them, in order: rows of `candidate`."""
    found: dict[int, list[RowMapping]] = defaultdict(list)
    for row in candidates.candidates(connection, *shard.neuron_range):
        if row["number"] < shard.config.explainer.candidates:
            found[row["neuron"]].append(row)
    return dict(found)


def chosen_drafts(connection: Connection, shard: ClaimedShard) -> dict[int, RowMapping]:
    """Return the draft that is kept of each neuron: the best that was judged, or the only one."""
    drafts = drafts_of(connection, shard)
    if shard.config.explainer.candidates == 1:
        return {neuron: found[0] for neuron, found in drafts.items()}
    scores = scores_of(connection, shard, "choose")
    return {neuron: drafts[neuron][best(found)] for neuron, found in scores.items()}


def scores_of(
    connection: Connection, shard: ClaimedShard, stage: str
) -> dict[int, dict[int, float | None]]:
    """Return what a stage found of each neuron's candidates, by number."""
    found: dict[int, dict[int, float | None]] = defaultdict(dict)
    for row in candidates.candidate_scores(connection, *shard.neuron_range):
        if row["stage"] == stage:
            found[row["neuron"]][row["number"]] = row["score"]
    return dict(found)
