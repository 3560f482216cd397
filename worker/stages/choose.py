"""Choose: the draft of an explanation that predicts best what its explainer was not shown."""

from collections.abc import Iterator

from sqlalchemy import Connection

from db import candidates, results
from db.session import transaction
from neurogloss.stages import up_to
from worker.shard import ClaimedShard
from worker.stages.candidates import Trial, calibration_records, judge, judged_rows
from worker.stages.drafts import chosen_drafts, drafts_of, scores_of


def choose(shard: ClaimedShard) -> None:
    """Judge the drafts of a shard's neurons, and let the best be the explanation.

    Where explanations are revised, the best is what is revised, and no explanation yet.
    """
    trials = list(_trials(shard))
    rows, failures = judged_rows(shard, trials, judge(shard, trials))
    with shard.committing() as connection:
        candidates.save_candidate_scores(connection, rows)
        results.save_failures(connection, failures)
        if not shard.config.explainer.revise:
            explain_by(connection, shard)


def explain_by(connection: Connection, shard: ClaimedShard) -> None:
    """Store the chosen drafts as the explanations."""
    rows = [
        (*shard.neuron_range[:2], neuron, row["text"], row["explainer"], row["call"])
        for neuron, row in chosen_drafts(connection, shard).items()
    ]
    results.save_explanations(connection, rows)


def _trials(shard: ClaimedShard) -> Iterator[Trial]:
    """Yield the drafts of the neurons of which none is chosen yet."""
    run_id, layer, start, stop = shard.neuron_range
    with transaction(shard.engine) as connection:
        failed = results.failed(connection, run_id, up_to("choose"), layer, start, stop)
        retries = results.retries(connection, run_id, "choose", layer, start, stop)
        done = failed | scores_of(connection, shard, "choose").keys()
        drafts = drafts_of(connection, shard)
        held_back = calibration_records(connection, shard)
    for neuron in sorted(drafts.keys() - done):
        for row in drafts[neuron]:
            number, sample = row["number"], retries.get(neuron, 0)
            yield Trial(neuron, number, row["text"], held_back[neuron], sample)
