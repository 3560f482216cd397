"""Explain: a sentence that says what makes a neuron fire, or several drafts of it."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection

from db import results
from db.candidates import CandidateRow, candidates
from db.records import NeuronRecordsRow, firing_neurons, neuron_records, token_means
from db.results import FailureRow
from db.session import transaction
from neurogloss.errors import RowError
from neurogloss.llm.calls import Call
from neurogloss.neurons.explanations import read_cut_explanation, read_explanation
from neurogloss.neurons.lookup import EXPLANATION_TOKENS, explain_by_lookup
from neurogloss.neurons.prompts import explanation_body, prefilled, with_room
from neurogloss.neurons.splits import Split, top_slice
from neurogloss.neurons.token_space import token_space_body
from worker.shard import ClaimedShard
from worker.stages.candidates import drafts_of, explanation_of
from worker.stages.model_calls import ask_each, failure_row
from worker.stages.shown_records import shown_records
from worker.stages.vocabulary import texts_of


def explain(shard: ClaimedShard) -> None:
    """Explain the neurons of a shard that have no explanation yet.

    Neurons that never fire are left out: the score stage stores the reason.
    """
    kind = shard.config.explainer.kind
    if kind in _BODIES:
        drafts, failures = _explain_by_calls(shard, _BODIES[kind])
    else:
        by_kind = {"lookup": _explain_by_lookup, "stored": _find_missing}
        drafts, failures = by_kind[kind](shard)
    with shard.committing() as connection:
        if shard.config.explainer.has_candidates:
            candidates.save(connection, drafts)
        else:
            results.explanations.save(connection, map(explanation_of, drafts))
        results.failures.save(connection, failures)


Drafts = list[CandidateRow]
Failures = list[FailureRow]
Bodies = Callable[[Connection, ClaimedShard, Sequence[NeuronRecordsRow]], list[dict[str, Any]]]


def _find_missing(shard: ClaimedShard) -> tuple[Drafts, Failures]:
    """Fail the neurons that have no explanation in the run that the records are from."""
    run_id, layer, _, _ = shard.neuron_range
    with transaction(shard.engine) as connection:
        neurons = _unexplained(shard, connection)
    reason = f"run {shard.config.records.run} has no explanation"
    return [], [
        FailureRow(run_id, "explain", layer, neuron, "not_explained", reason, 0, None)
        for neuron in neurons
    ]


def _explain_by_lookup(shard: ClaimedShard) -> tuple[Drafts, Failures]:
    with transaction(shard.engine) as connection:
        texts = texts_of(connection, shard)
        tables = token_means.load(connection, *shard.neuron_range)
        unexplained = set(_unexplained(shard, connection))
    drafts = []
    for table in tables:
        if table.neuron in unexplained:
            top = table.top_means()[:EXPLANATION_TOKENS]
            text = explain_by_lookup([texts[token] for token, _ in top], [mean for _, mean in top])
            drafts.append(
                CandidateRow(table.run_id, table.layer, table.neuron, 0, text, explainer="lookup")
            )
    return drafts, []


def _explain_by_calls(shard: ClaimedShard, bodies: Bodies) -> tuple[Drafts, Failures]:
    """Return the drafts of each neuron; a neuron that lacks one of them has failed."""
    run_id, layer, start, stop = shard.neuron_range
    explainer = shard.config.explainer
    with transaction(shard.engine) as connection:
        retries = results.retries(connection, run_id, "explain", layer, start, stop)
        unexplained = set(_unexplained(shard, connection))
        loaded = neuron_records.load(connection, *shard.neuron_range) if unexplained else []
        rows = [row for row in loaded if row.neuron in unexplained]
        body_of = {
            row.neuron: body
            for row, body in zip(rows, bodies(connection, shard, rows), strict=True)
        }
    # All calls of the shard at once: the call engine needs many to fill the limits.
    places = [(neuron, number) for neuron in body_of for number in range(explainer.candidates)]
    calls = [_call(shard, body_of[neuron], n, retries.get(neuron, 0)) for neuron, n in places]
    outcomes = ask_each(shard, explainer.endpoint, calls, read_explanation, read_cut_explanation)
    drafts: Drafts = []
    failures: dict[int, FailureRow] = {}
    for (neuron, number), outcome in zip(places, outcomes, strict=True):
        if isinstance(outcome, RowError):
            failures.setdefault(neuron, failure_row(shard, neuron, outcome))
        else:
            text, call = outcome
            drafts.append(CandidateRow(run_id, layer, neuron, number, text, explainer.model, call))
    return [d for d in drafts if d.neuron not in failures], list(failures.values())


def calls_of(connection: Connection, shard: ClaimedShard) -> list[Call]:
    """Return the calls about a shard's neurons, explained or not, with those of earlier retries."""
    run_id, layer, start, stop = shard.neuron_range
    explainer = shard.config.explainer
    rows = neuron_records.load(connection, *shard.neuron_range)
    retries = results.retries(connection, run_id, "explain", layer, start, stop)
    asked = zip(rows, _BODIES[explainer.kind](connection, shard, rows), strict=True)
    return [
        _call(shard, body, number, sample)
        for row, body in asked
        for number in range(explainer.candidates)
        for sample in range(retries.get(row.neuron, 0) + 1)
    ]


def _unexplained(shard: ClaimedShard, connection: Connection) -> list[int]:
    """Return the neurons that fire, and have neither explanation nor failure."""
    run_id, layer, start, stop = shard.neuron_range
    settled = {row.neuron for row in results.explanations.load(connection, *shard.neuron_range)}
    settled |= drafts_of(connection, shard).keys()
    settled |= results.failed(connection, run_id, ("explain",), layer, start, stop)
    firing = firing_neurons(connection, run_id, layer, start, stop)
    return [neuron for neuron in firing if neuron not in settled]


def _about_records(
    connection: Connection, shard: ClaimedShard, rows: Sequence[NeuronRecordsRow]
) -> list[dict[str, Any]]:
    """Return a request body about each neuron's train records."""
    train = top_slice(Split.TRAIN, shard.config.scoring.top)
    places = [row.top_records[train] for row in rows]
    return list(map(explanation_body, shown_records(connection, shard, rows, places)))


def _about_tokens(
    connection: Connection, shard: ClaimedShard, rows: Sequence[NeuronRecordsRow]
) -> list[dict[str, Any]]:
    """Return a request body about each neuron's tokens of the highest mean activation."""
    texts = texts_of(connection, shard)
    tables = token_means.load(connection, *shard.neuron_range)
    tokens = {table.neuron: table.top_tokens for table in tables}
    return [token_space_body([texts[token] for token in tokens[row.neuron]]) for row in rows]


_BODIES: dict[str, Bodies] = {"llm": _about_records, "token_space": _about_tokens}


def _call(shard: ClaimedShard, asked: dict[str, Any], draft: int, sample: int) -> Call:
    """Return the call for a draft. The seed makes the later drafts different calls."""
    explainer = shard.config.explainer
    model = explainer.model
    asked = prefilled(asked) if explainer.prefill else asked
    # The first draft has no seed: its call is that of a run with a single draft, whose stored
    # answer serves.
    body = {"model": model, **with_room(asked, explainer.max_tokens)} | (
        {"seed": draft} if draft else {}
    )
    return Call(purpose="explain", model=model, body=body, sample=sample)
