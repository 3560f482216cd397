"""Revise: a better explanation by what the neuron did on sentences, if it is a better one."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, RowMapping

from db import candidates, records, results
from db.session import transaction
from neurogloss.errors import Malformed, RowError
from neurogloss.llm.calls import Call
from neurogloss.neurons.prompts import clean_explanation
from neurogloss.neurons.records import ActivationRecord
from neurogloss.neurons.revision import ObservedSentence, revision_body
from neurogloss.neurons.splits import Split, top_slice
from neurogloss.stages import up_to
from worker.shard import ClaimedShard
from worker.stages.candidates import HeldBack, Trial, best, calibration_records, judge, judged_rows
from worker.stages.drafts import chosen_drafts
from worker.stages.model_calls import ask_each, failure_row
from worker.stages.shown_records import shown_records
from worker.stages.vocabulary import texts_of

Rows = list[tuple[Any, ...]]
_CANDIDATE = ("number", "text", "explainer", "call")


def revise(shard: ClaimedShard) -> None:
    """Revise the drafts of a shard's neurons, and let the better of both be the explanation.

    Both are judged by the calibration split and the sentences that were kept back. A neuron whose
    revision fails has failed: its draft was not tried to the end.
    """
    tasks = _tasks(shard)
    revised, failures = _revised(shard, tasks)
    trials = list(_trials(tasks, revised))
    scores, unjudged = judged_rows(shard, trials, judge(shard, trials))
    key = shard.neuron_range[:2]
    with shard.committing() as connection:
        rows = [(*key, neuron, *astuple(found)) for neuron, found in revised.items()]
        candidates.save_candidates(connection, rows)
        candidates.save_candidate_scores(connection, scores)
        results.save_explanations(connection, _explanations(shard, tasks, revised, scores))
        results.save_failures(connection, [*failures, *unjudged])


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A row of `candidate`, but for its neuron."""

    number: int
    text: str
    explainer: str
    call: bytes | None


@dataclass(frozen=True, slots=True)
class _Task:
    """A neuron whose draft is to be revised, and by what.

    `revision` is there where an earlier attempt has stored it.
    """

    draft: _Candidate
    revision: _Candidate | None
    records: list[ActivationRecord]
    observed: list[ObservedSentence]
    held_back: HeldBack
    sample: int


def _tasks(shard: ClaimedShard) -> dict[int, _Task]:
    """Return what is to be done, by neuron: those that have a draft and no explanation."""
    run_id, layer, start, stop = shard.neuron_range
    with transaction(shard.engine) as connection:
        done = results.failed(connection, run_id, up_to("revise"), layer, start, stop)
        done |= results.explanations(connection, *shard.neuron_range).keys()
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
            draft=_candidate(drafts[neuron]),
            revision=revisions.get(neuron),
            records=of_neuron,
            observed=for_revising,
            held_back=_with(held_back[neuron], for_judging),
            sample=retries.get(neuron, 0),
        )
    return tasks


def _candidate(row: RowMapping) -> _Candidate:
    return _Candidate(*(row[column] for column in _CANDIDATE))


def _revisions(connection: Connection, shard: ClaimedShard) -> dict[int, _Candidate]:
    number = shard.config.explainer.candidates
    found = candidates.candidates(connection, *shard.neuron_range)
    return {row["neuron"]: _candidate(row) for row in found if row["number"] == number}


def _train_records(
    connection: Connection, shard: ClaimedShard, neurons: Set[int]
) -> dict[int, list[ActivationRecord]]:
    """Return what the drafts of some neurons were written from."""
    train = top_slice(Split.TRAIN, shard.config.scoring.top)
    loaded = records.load(connection, *shard.neuron_range)
    rows = [row for row in loaded if row["neuron"] in neurons]
    shown = shown_records(connection, shard, rows, [row["top_records"][train] for row in rows])
    return {row["neuron"]: found for row, found in zip(rows, shown, strict=True)}


def _observed(
    connection: Connection, shard: ClaimedShard
) -> Mapping[int, tuple[list[ObservedSentence], list[ObservedSentence]]]:
    """Return the sentences that have tokens, by neuron: those for revising, and for judging."""
    texts = texts_of(connection, shard)
    found: dict[int, tuple[list[ObservedSentence], list[ObservedSentence]]] = defaultdict(
        lambda: ([], [])
    )
    for row in candidates.sentences(connection, *shard.neuron_range):
        if row["tokens"]:
            tokens = np.frombuffer(row["tokens"], np.int32).tolist()
            values = np.frombuffer(row["activations"], np.float16).tolist()
            record = ActivationRecord(tuple(texts[token] for token in tokens), tuple(values))
            found[row["neuron"]][row["for_judging"]].append(
                ObservedSentence(record, row["is_expected"])
            )
    return found


def _with(held_back: HeldBack, sentences: Sequence[ObservedSentence]) -> HeldBack:
    """Return what was held back, with the sentences that were too."""
    texts = [list(sentence.record.tokens) for sentence in sentences]
    true = [np.array(sentence.record.activations, np.float16) for sentence in sentences]
    return HeldBack([*held_back.texts, *texts], np.concatenate([held_back.true, *true]))


def _revised(shard: ClaimedShard, tasks: Mapping[int, _Task]) -> tuple[dict[int, _Candidate], Rows]:
    """Return the revisions by neuron, and failures."""
    explainer = shard.config.explainer
    found = {neuron: task.revision for neuron, task in tasks.items() if task.revision}
    calls = {neuron: _call(shard, task) for neuron, task in tasks.items() if neuron not in found}
    outcomes = ask_each(shard, explainer.endpoint, list(calls.values()), _read)
    failures: Rows = []
    for neuron, outcome in zip(calls, outcomes, strict=True):
        if isinstance(outcome, RowError):
            failures.append(failure_row(shard, neuron, outcome))
        else:
            text, call = outcome
            found[neuron] = _Candidate(explainer.candidates, text, explainer.model, call)
    return found, failures


def _call(shard: ClaimedShard, task: _Task) -> Call:
    model = shard.config.explainer.model
    body = {"model": model, **revision_body(task.draft.text, task.records, task.observed)}
    return Call("revise", model, body, sample=task.sample)


def _read(answer: str) -> str:
    text = clean_explanation(answer)
    if not text:
        raise Malformed("the explanation is empty")
    return text


def _trials(tasks: Mapping[int, _Task], revised: Mapping[int, _Candidate]) -> Iterator[Trial]:
    for neuron, revision in sorted(revised.items()):
        task = tasks[neuron]
        for found in (task.draft, revision):
            yield Trial(neuron, found.number, found.text, task.held_back, task.sample)


def _explanations(
    shard: ClaimedShard,
    tasks: Mapping[int, _Task],
    revised: Mapping[int, _Candidate],
    scores: Rows,
) -> Iterator[tuple[Any, ...]]:
    """Yield rows of `explanation`: the better of both, the draft where they are as good."""
    by_neuron: dict[int, dict[int, float | None]] = defaultdict(dict)
    for _, _, neuron, _, number, score, _ in scores:
        by_neuron[neuron][number] = score
    for neuron, found in by_neuron.items():
        both = {candidate.number: candidate for candidate in (tasks[neuron].draft, revised[neuron])}
        kept = both[best(found)]
        yield (*shard.neuron_range[:2], neuron, kept.text, kept.explainer, kept.call)
