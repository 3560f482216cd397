"""The candidates for a neuron's explanation: which there are, and how they are judged.

They are judged by how well they predict what was held back from the explainer, never by the scored
records: the score of an explanation that was chosen by its score would mean less.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection

from db.candidates import CandidateRow, CandidateScoreRow, candidate_scores, candidates
from db.results import ExplanationRow, FailureRow
from neurogloss.errors import RowError
from neurogloss.neurons.candidates import best_candidate
from neurogloss.neurons.records import FloatArray
from neurogloss.neurons.scoring import correlation_score, pooled
from neurogloss.neurons.splits import Split
from worker.shard import ClaimedShard
from worker.stages.model_calls import failure_row
from worker.stages.scored_records import scored_records
from worker.stages.simulations import SimulationInput, simulate_all
from worker.stages.vocabulary import texts_of


def drafts_of(connection: Connection, shard: ClaimedShard) -> dict[int, list[CandidateRow]]:
    """Return the drafts of each neuron of a shard that has them, in order."""
    drafts: dict[int, list[CandidateRow]] = defaultdict(list)
    for row in candidates.load(connection, *shard.neuron_range):
        # The numbers from there on are those of revisions.
        if row.number < shard.config.explainer.candidates:
            drafts[row.neuron].append(row)
    return dict(drafts)


def chosen_drafts(connection: Connection, shard: ClaimedShard) -> dict[int, CandidateRow]:
    """Return the draft that is kept of each neuron: the best that was judged, or the only one."""
    drafts = drafts_of(connection, shard)
    # A single draft is not judged: there is nothing to choose from.
    if shard.config.explainer.candidates == 1:
        return {neuron: of_neuron[0] for neuron, of_neuron in drafts.items()}
    scores = scores_of(connection, shard, "choose")
    return {
        neuron: drafts[neuron][best_candidate(of_neuron)] for neuron, of_neuron in scores.items()
    }


def scores_of(
    connection: Connection, shard: ClaimedShard, stage: str
) -> dict[int, dict[int, float | None]]:
    """Return how a stage judged each neuron's candidates, by number."""
    rows = candidate_scores.load(connection, *shard.neuron_range)
    return scores_by_neuron([row for row in rows if row.stage == stage])


def scores_by_neuron(rows: Sequence[CandidateScoreRow]) -> dict[int, dict[int, float | None]]:
    """Return the scores of candidates, by neuron and number."""
    scores: dict[int, dict[int, float | None]] = defaultdict(dict)
    for row in rows:
        scores[row.neuron][row.number] = row.score
    return dict(scores)


def explanation_of(candidate: CandidateRow) -> ExplanationRow:
    """Return the candidate as the explanation of its neuron."""
    key = (candidate.run_id, candidate.layer, candidate.neuron)
    return ExplanationRow(*key, candidate.text, candidate.explainer, candidate.call)


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Texts that the explainer was not shown, as lists of tokens.

    `true` has the neuron's activations on the tokens of all texts, float16 (n_tokens,).
    """

    texts: list[list[str]]
    true: FloatArray


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate that is to be judged. `sample` is as in `SimulationInput`."""

    neuron: int
    number: int
    explanation: str
    held_back: HeldBack
    sample: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """The correlation over all tokens, or why there is none."""

    score: float | None
    undefined_reason: str | None


def calibration_records(connection: Connection, shard: ClaimedShard) -> dict[int, HeldBack]:
    """Return the calibration split of each neuron of a shard, each excerpt once."""
    texts = texts_of(connection, shard)
    _, layer, start, stop = shard.neuron_range
    held_back = {}
    for scored in scored_records(connection, shard, layer, start, stop, Split.CALIBRATION):
        # A record may be both a top and a random record, and must not be asked about, or count,
        # twice.
        _, places = np.unique(scored.excerpts, return_index=True)
        places.sort()
        words = [[texts[token] for token in scored.tokens[place].tolist()] for place in places]
        true = pooled([scored.true[place] for place in places])
        held_back[scored.neuron] = HeldBack(words, true)
    return held_back


def judge(shard: ClaimedShard, trials: Sequence[Trial]) -> list[Verdict | RowError]:
    """Return how well each candidate predicts what was held back, or why it cannot be judged.

    Raises:
        RunError: The whole run is affected, and paused.
        Interrupted: The worker was told to stop, or the run was paused.
        Waiting: The calls are put into batches, and are not all answered.
    """
    inputs = [
        SimulationInput(
            trial.neuron,
            trial.explanation,
            list(range(len(trial.held_back.texts))),
            trial.held_back.texts,
            trial.sample,
        )
        for trial in trials
    ]
    verdicts: list[Verdict | RowError] = []
    for trial, outcomes in zip(trials, simulate_all(shard, inputs), strict=True):
        expected: list[FloatArray] = []
        failed: RowError | None = None
        for outcome in outcomes:
            if isinstance(outcome, RowError):
                failed = failed or outcome
            else:
                expected.append(outcome[0].expected)
        verdicts.append(failed or _verdict(trial.held_back.true, expected))
    return verdicts


def _verdict(true: FloatArray, expected: Sequence[FloatArray]) -> Verdict:
    # float16 first, as simulations are stored: `verify` would find another score otherwise.
    simulated = np.concatenate(expected).astype(np.float16)
    score = correlation_score(true[None], simulated[None])
    if score is not None:
        return Verdict(score, None)
    is_constant = true.min() == true.max()
    return Verdict(None, "constant_activations" if is_constant else "constant_simulation")


def judged_rows(
    shard: ClaimedShard, trials: Sequence[Trial], verdicts: Sequence[Verdict | RowError]
) -> tuple[list[CandidateScoreRow], list[FailureRow]]:
    """Return how candidates were judged, and failures.

    A neuron of which one candidate cannot be judged has failed: that one might be the best.
    """
    failures: dict[int, FailureRow] = {}
    for trial, verdict in zip(trials, verdicts, strict=True):
        if isinstance(verdict, RowError):
            failures.setdefault(trial.neuron, failure_row(shard, trial.neuron, verdict))
    claim = shard.claim
    rows = [
        CandidateScoreRow(
            run_id=claim.run_id,
            layer=claim.layer,
            neuron=trial.neuron,
            stage=claim.stage,
            number=trial.number,
            score=verdict.score,
            undefined_reason=verdict.undefined_reason,
        )
        for trial, verdict in zip(trials, verdicts, strict=True)
        if isinstance(verdict, Verdict) and trial.neuron not in failures
    ]
    return rows, list(failures.values())
