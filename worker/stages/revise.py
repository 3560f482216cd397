"""Revise: a new explanation from the activations on sentences, kept if it is better."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection

from db import candidates, results
from db.candidates import CandidateRow, CandidateScoreRow
from db.records import neuron_records
from db.results import ExplanationRow, FailureRow
from db.session import transaction
from neurogloss.errors import RowError
from neurogloss.llm.calls import Call
from neurogloss.neurons.candidates import best_candidate
from neurogloss.neurons.explanations import read_cut_explanation, read_explanation
from neurogloss.neurons.prompts import with_room
from neurogloss.neurons.records import ActivationRecord
from neurogloss.neurons.revision import ObservedSentence, revision_body
from neurogloss.neurons.splits import Split, top_slice
from neurogloss.stages import up_to
from worker.shard import ClaimedShard
from worker.stages.candidates import (
    HeldBack,
    Trial,
    calibration_records,
    chosen_drafts,
    explanation_of,
    judge,
    judged_rows,
    scores_by_neuron,
)
from worker.stages.model_calls import ask_each, failure_row
from worker.stages.shown_records import shown_records
from worker.stages.vocabulary import texts_of


def revise(shard: ClaimedShard) -> None:
    """Revise the drafts of a shard's neurons, and store the better of both as the explanation.

    Both are judged on the calibration split and on the sentences that the explainer is not shown.
    A neuron fails if its revision fails, as nothing shows that its draft is the better one.
    """
    tasks = _tasks(shard)
    revised, failures = _revised(shard, tasks)
    trials = list(_trials(tasks, revised))
    scores, unjudged = judged_rows(shard, trials, judge(shard, trials))
    with shard.committing() as connection:
        candidates.candidates.save(connection, revised.values())
        candidates.candidate_scores.save(connection, scores)
        results.explanations.save(connection, _explanations(tasks, revised, scores))
        results.failures.save(connection, [*failures, *unjudged])


@dataclass(frozen=True, slots=True)
class _Task:
    """A neuron whose draft is to be revised, with what the explainer is shown.

    `revision` is one that an earlier attempt at the shard stored.
    """

    draft: CandidateRow
    revision: CandidateRow | None
    records: list[ActivationRecord]
    observed: list[ObservedSentence]
    held_back: HeldBack
    sample: int


def _tasks(shard: ClaimedShard) -> dict[int, _Task]:
    """Return the neurons that have a draft and no explanation."""
    run_id, layer, start, stop = shard.neuron_range
    with transaction(shard.engine) as connection:
        done = results.failed(connection, run_id, up_to("revise"), layer, start, stop)
        done |= results.explanation_texts(connection, *shard.neuron_range).keys()
        retries = results.retries(connection, run_id, "revise", layer, start, stop)
        drafts = chosen_drafts(connection, shard)
        revisions = _revisions(connection, shard)
        shown = _train_records(connection, shard, drafts.keys() - done)
        held_back = calibration_records(connection, shard)
        sentences = _observed(connection, shard)
    tasks = {}
    for neuron, of_neuron in shown.items():
        for_revising, for_judging = sentences[neuron]
        tasks[neuron] = _Task(
            draft=drafts[neuron],
            revision=revisions.get(neuron),
            records=of_neuron,
            observed=for_revising,
            held_back=_with(held_back[neuron], for_judging),
            sample=retries.get(neuron, 0),
        )
    return tasks


def _revisions(connection: Connection, shard: ClaimedShard) -> dict[int, CandidateRow]:
    """Return the revisions that are stored; their number follows that of the last draft."""
    rows = candidates.candidates.load(connection, *shard.neuron_range)
    return {row.neuron: row for row in rows if row.number == shard.config.explainer.candidates}


def _train_records(
    connection: Connection, shard: ClaimedShard, neurons: Set[int]
) -> dict[int, list[ActivationRecord]]:
    """Return the train records of some neurons, from which their drafts were written."""
    train = top_slice(Split.TRAIN, shard.config.scoring.top)
    loaded = neuron_records.load(connection, *shard.neuron_range)
    rows = [row for row in loaded if row.neuron in neurons]
    shown = shown_records(connection, shard, rows, [row.top_records[train] for row in rows])
    return {row.neuron: records for row, records in zip(rows, shown, strict=True)}


def _observed(
    connection: Connection, shard: ClaimedShard
) -> Mapping[int, tuple[list[ObservedSentence], list[ObservedSentence]]]:
    """Return the observed sentences by neuron: those to revise by, and those to judge by."""
    texts = texts_of(connection, shard)
    observed: dict[int, tuple[list[ObservedSentence], list[ObservedSentence]]] = defaultdict(
        lambda: ([], [])
    )
    for row in candidates.sentences.load(connection, *shard.neuron_range):
        if row.tokens is not None and row.activations is not None and len(row.tokens):
            words = tuple(texts[token] for token in row.tokens.tolist())
            record = ActivationRecord(words, tuple(row.activations.tolist()))
            observed[row.neuron][row.for_judging].append(ObservedSentence(record, row.is_expected))
    return observed


def _with(held_back: HeldBack, sentences: Sequence[ObservedSentence]) -> HeldBack:
    """Return the held-back texts together with the sentences to judge by."""
    texts = [list(sentence.record.tokens) for sentence in sentences]
    true = [np.array(sentence.record.activations, np.float16) for sentence in sentences]
    return HeldBack([*held_back.texts, *texts], np.concatenate([held_back.true, *true]))


def _revised(
    shard: ClaimedShard, tasks: Mapping[int, _Task]
) -> tuple[dict[int, CandidateRow], list[FailureRow]]:
    """Return the revisions by neuron, and failures."""
    run_id, layer, *_ = shard.neuron_range
    explainer = shard.config.explainer
    revisions = {neuron: task.revision for neuron, task in tasks.items() if task.revision}
    calls = {n: _call(shard, task) for n, task in tasks.items() if n not in revisions}
    outcomes = ask_each(
        shard, explainer.endpoint, list(calls.values()), read_explanation, read_cut_explanation
    )
    failures: list[FailureRow] = []
    for neuron, outcome in zip(calls, outcomes, strict=True):
        if isinstance(outcome, RowError):
            failures.append(failure_row(shard, neuron, outcome))
        else:
            text, call = outcome
            number = explainer.candidates
            revisions[neuron] = CandidateRow(
                run_id, layer, neuron, number, text, explainer.model, call
            )
    return revisions, failures


def _call(shard: ClaimedShard, task: _Task) -> Call:
    explainer = shard.config.explainer
    asked = revision_body(task.draft.text, task.records, task.observed)
    body = {"model": explainer.model, **with_room(asked, explainer.max_tokens)}
    return Call("revise", explainer.model, body, sample=task.sample)


def _trials(tasks: Mapping[int, _Task], revised: Mapping[int, CandidateRow]) -> Iterator[Trial]:
    for neuron, revision in sorted(revised.items()):
        task = tasks[neuron]
        for candidate in (task.draft, revision):
            yield Trial(neuron, candidate.number, candidate.text, task.held_back, task.sample)


def _explanations(
    tasks: Mapping[int, _Task],
    revised: Mapping[int, CandidateRow],
    scores: Sequence[CandidateScoreRow],
) -> Iterator[ExplanationRow]:
    """Yield the better of draft and revision, the draft where they are as good."""
    for neuron, of_neuron in scores_by_neuron(scores).items():
        both = {candidate.number: candidate for candidate in (tasks[neuron].draft, revised[neuron])}
        yield explanation_of(both[best_candidate(of_neuron)])
