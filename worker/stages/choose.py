"""Choose: the draft of an explanation that predicts best what its explainer was not shown."""

from collections.abc import Iterator

from sqlalchemy import Connection

from db import candidates, results
from db.session import transaction
from neurogloss.stages import up_to
from worker.shard import ShardWork
from worker.stages.candidates import Trial, calibration_records, judge, judged_rows
from worker.stages.drafts import chosen_drafts, drafts_of, scores_of


def choose(work: ShardWork) -> None:
    """Judge the drafts of a shard's neurons, and let the best be the explanation.

    Where explanations are revised, the best is what is revised, and no explanation yet.
    """
    trials = list(_trials(work))
    rows, failures = judged_rows(work, trials, judge(work, trials))
    with work.handing_in() as connection:
        candidates.save_candidate_scores(connection, rows)
        results.save_failures(connection, failures)
        if not work.config.explainer.revise:
            explain_by(connection, work)


def explain_by(connection: Connection, work: ShardWork) -> None:
    """Store the chosen drafts as the explanations."""
    rows = [
        (*work.neuron_range[:2], neuron, row["text"], row["explainer"], row["call"])
        for neuron, row in chosen_drafts(connection, work).items()
    ]
    results.save_explanations(connection, rows)


def _trials(work: ShardWork) -> Iterator[Trial]:
    """Yield the drafts of the neurons of which none is chosen yet."""
    run_id, layer, start, stop = work.neuron_range
    with transaction(work.engine) as connection:
        failed = results.failed(connection, run_id, up_to("choose"), layer, start, stop)
        retries = results.retries(connection, run_id, "choose", layer, start, stop)
        done = failed | scores_of(connection, work, "choose").keys()
        drafts = drafts_of(connection, work)
        held_back = calibration_records(connection, work)
    for neuron in sorted(drafts.keys() - done):
        for row in drafts[neuron]:
            number, sample = row["number"], retries.get(neuron, 0)
            yield Trial(neuron, number, row["text"], held_back[neuron], sample)
