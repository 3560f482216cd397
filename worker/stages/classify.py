"""The scorers of `scoring.also`: one call for each neuron and scorer, on its test split."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from sqlalchemy import Connection

from db import results
from db.evaluations import ScorerResultRow, scorer_results
from db.records import NeuronRecordsRow, neuron_records
from db.results import FailureRow
from db.session import transaction
from neurogloss.errors import Malformed, RowError
from neurogloss.llm.calls import Answer, Call
from neurogloss.neurons.classification import (
    Classification,
    LabelledExample,
    ScorerKind,
    area_under_curve,
    balanced_accuracy,
    classification_body,
    detection_examples,
    fires,
    fuzzing_examples,
    is_silent,
    read_classification,
)
from neurogloss.neurons.prompts import with_room
from neurogloss.neurons.records import ActivationRecord
from neurogloss.neurons.simulators.base import ModelReply
from neurogloss.neurons.splits import Split, random_slice, top_slice
from neurogloss.stages import up_to
from worker.shard import ClaimedShard
from worker.stages.model_calls import ask_and_read, failure_row
from worker.stages.shown_records import shown_records

Outcome = tuple[Classification, bytes] | RowError


@dataclass(frozen=True, slots=True)
class _Task:
    """One neuron that one scorer is asked about."""

    neuron: int
    scorer: ScorerKind
    explanation: str
    examples: list[LabelledExample]
    sample: int

    @property
    def truth(self) -> np.ndarray[Any, Any]:
        return np.array([example.is_true for example in self.examples], dtype=np.float64)

    @property
    def undefined_reason(self) -> str | None:
        kinds = {example.is_true for example in self.examples}
        if kinds == {True, False}:
            return None
        return "no_negative_records" if True in kinds else "no_positive_records"


def classify(shard: ClaimedShard) -> tuple[list[ScorerResultRow], list[FailureRow]]:
    """Return the scorer results that a shard's neurons still lack, and failures."""
    if not shard.config.scoring.also:
        return [], []
    tasks = list(_tasks(shard))
    undefined = [task for task in tasks if task.undefined_reason is not None]
    asked = [task for task in tasks if task.undefined_reason is None]
    rows = [_row(shard, task, None, None, None) for task in undefined]
    # By neuron, since several scorers may fail for one.
    failures: dict[int, FailureRow] = {}
    calls = [_call(shard, task) for task in asked]

    def read(answers: Sequence[Answer | RowError]) -> tuple[list[Outcome], list[int]]:
        outcomes = [_read(task, answer) for task, answer in zip(asked, answers, strict=True)]
        return outcomes, [i for i, o in enumerate(outcomes) if isinstance(o, Malformed)]

    outcomes = ask_and_read(shard, shard.config.scorer.endpoint, calls, read)
    for task, outcome in zip(asked, outcomes, strict=True):
        if isinstance(outcome, RowError):
            failures[task.neuron] = failure_row(shard, task.neuron, outcome)
        else:
            answered, identity = outcome
            score = balanced_accuracy(task.truth, answered.answers)
            sure = answered.probabilities
            auc = None if sure is None else area_under_curve(task.truth, sure)
            rows.append(_row(shard, task, score, auc, identity))
    return rows, list(failures.values())


def _tasks(shard: ClaimedShard) -> Iterator[_Task]:
    run_id, layer, start, stop = shard.neuron_range
    with transaction(shard.engine) as connection:
        explanations = results.explanation_texts(connection, *shard.neuron_range)
        retries = results.retries(connection, run_id, "score", layer, start, stop)
        failed = results.failed(connection, run_id, up_to("score"), layer, start, stop)
        stored = {
            (row.neuron, row.scorer) for row in scorer_results.load(connection, *shard.neuron_range)
        }
        rows = [
            row
            for row in neuron_records.load(connection, *shard.neuron_range)
            if row.neuron in explanations and row.neuron not in failed
        ]
        chosen = _chosen(connection, shard, rows)
    for row, of_neuron in zip(rows, chosen, strict=True):
        for scorer in shard.config.scoring.also:
            if (row.neuron, scorer) not in stored:
                yield _Task(
                    neuron=row.neuron,
                    scorer=scorer,
                    explanation=explanations[row.neuron],
                    examples=_examples(shard, scorer, row, of_neuron),
                    sample=retries.get(row.neuron, 0),
                )


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Records that the explainer was not shown: top records of two splits, and random ones."""

    test: list[ActivationRecord]
    calibration: list[ActivationRecord]
    drawn: list[ActivationRecord]


def _chosen(
    connection: Connection, shard: ClaimedShard, rows: Sequence[NeuronRecordsRow]
) -> list[_Chosen]:
    scoring = shard.config.scoring
    places = [
        (
            row.top_records[top_slice(Split.TEST, scoring.top)],
            row.top_records[top_slice(Split.CALIBRATION, scoring.top)],
            [
                *row.random_records[random_slice(Split.TEST, scoring.random)],
                *row.random_records[random_slice(Split.CALIBRATION, scoring.random)],
            ],
        )
        for row in rows
    ]
    flat = [[place for kind in kinds for place in kind] for kinds in places]
    chosen = []
    for kinds, shown in zip(places, shown_records(connection, shard, rows, flat), strict=True):
        remaining = iter(shown)
        chosen.append(_Chosen(*(list(islice(remaining, len(kind))) for kind in kinds)))
    return chosen


def _examples(
    shard: ClaimedShard, scorer: ScorerKind, row: NeuronRecordsRow, chosen: _Chosen
) -> list[LabelledExample]:
    """Return the examples of a neuron in a seeded order, so that every attempt is the same call."""
    highest, n_most = row.max_activation, shard.config.scoring.top
    seed = (shard.config.corpus.seed, shard.claim.layer, row.neuron)
    positive = [record for record in chosen.test if fires(record, highest)]
    if scorer == "detection":
        negative = [record for record in chosen.drawn if is_silent(record, highest)]
        examples = detection_examples(positive, negative[:n_most])
    else:
        wrong = [record for record in chosen.calibration if fires(record, highest)]
        examples = fuzzing_examples(positive, wrong, highest, seed)
    # Shuffled: models favour answers by position, and positive examples come first otherwise.
    order = np.random.default_rng([*seed, 1]).permutation(len(examples)).tolist()
    return [examples[place] for place in order]


def _call(shard: ClaimedShard, task: _Task) -> Call:
    part = shard.config.scorer
    asked = classification_body(task.scorer, task.explanation, task.examples, part.top_logprobs)
    body = {"model": part.model, **with_room(asked, part.max_tokens)}
    return Call("score", part.model, body, sample=task.sample)


def _read(task: _Task, answer: Answer | RowError) -> Outcome:
    if isinstance(answer, RowError):
        return answer
    try:
        reply = ModelReply(answer.text, answer.distributions)
        return read_classification(reply, len(task.examples)), answer.identity
    except Malformed as error:
        return Malformed(error.reason, answer.attempts, answer.request_id)


def _row(
    shard: ClaimedShard, task: _Task, score: float | None, auc: float | None, call: bytes | None
) -> ScorerResultRow:
    n_positive = sum(example.is_true for example in task.examples)
    return ScorerResultRow(
        run_id=shard.claim.run_id,
        layer=shard.claim.layer,
        neuron=task.neuron,
        scorer=task.scorer,
        score=score,
        auc=auc,
        n_positive=n_positive,
        n_negative=len(task.examples) - n_positive,
        undefined_reason=task.undefined_reason,
        call=call,
    )
