"""Choose: the draft that best predicts the records that its explainer was not shown."""

from collections.abc import Iterator

from db import results
from db.candidates import candidate_scores
from db.session import transaction
from neurogloss.stages import up_to
from worker.shard import ClaimedShard
from worker.stages.candidates import (
    Trial,
    calibration_records,
    chosen_drafts,
    drafts_of,
    explanation_of,
    judge,
    judged_rows,
    scores_of,
)


def choose(shard: ClaimedShard) -> None:
    """Judge the drafts of a shard's neurons, and store the best as the explanation.

    In a run with `revise`, the best draft is revised first, so that no explanation is stored yet.
    """
    trials = list(_trials(shard))
    rows, failures = judged_rows(shard, trials, judge(shard, trials))
    with shard.committing() as connection:
        candidate_scores.save(connection, rows)
        results.failures.save(connection, failures)
        if not shard.config.explainer.revise:
            chosen = chosen_drafts(connection, shard).values()
            results.explanations.save(connection, map(explanation_of, chosen))


def _trials(shard: ClaimedShard) -> Iterator[Trial]:
    """Yield the drafts of the neurons that were not judged yet."""
    run_id, layer, start, stop = shard.neuron_range
    with transaction(shard.engine) as connection:
        failed = results.failed(connection, run_id, up_to("choose"), layer, start, stop)
        retries = results.retries(connection, run_id, "choose", layer, start, stop)
        done = failed | scores_of(connection, shard, "choose").keys()
        drafts = drafts_of(connection, shard)
        held_back = calibration_records(connection, shard)
    for neuron in sorted(drafts.keys() - done):
        for draft in drafts[neuron]:
            sample = retries.get(neuron, 0)
            yield Trial(neuron, draft.number, draft.text, held_back[neuron], sample)
