"""Explain: one sentence about what makes a neuron fire, or several drafts of it."""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, RowMapping

from db import candidates, records, results
from db.session import transaction
from neurogloss.errors import Malformed, RowError
from neurogloss.llm.calls import Answer, Call
from neurogloss.neurons.lookup import EXPLANATION_TOKENS, explain_by_lookup
from neurogloss.neurons.prompts import clean_explanation, explanation_body
from neurogloss.neurons.splits import Split, top_slice
from neurogloss.neurons.token_space import token_space_body
from worker.shard import ClaimedShard
from worker.stages.drafts import drafts_of
from worker.stages.model_calls import ask_and_read, failure_row
from worker.stages.shown_records import shown_records
from worker.stages.vocabulary import texts_of


def explain(shard: ClaimedShard) -> None:
    """Explain the neurons of a shard that have no explanation yet.

    Neurons that never fire are passed over: the score stage gives the reason.
    """
    kind = shard.config.explainer.kind
    if kind in _BODIES:
        drafts, failures = _explain_by_calls(shard, _BODIES[kind])
    else:
        by_kind = {"lookup": _explain_by_lookup, "stored": _find_missing}
        drafts, failures = by_kind[kind](shard)
    with shard.committing() as connection:
        if shard.config.explainer.has_candidates:
            candidates.save_candidates(connection, map(astuple, drafts))
        else:
            results.save_explanations(connection, [draft.explanation() for draft in drafts])
        results.save_failures(connection, failures)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A row of `candidate`, or of `explanation` where it is the only one."""

    run_id: int
    layer: int
    neuron: int
    number: int
    text: str
    explainer: str
    call: bytes | None = None

    def explanation(self) -> tuple[Any, ...]:
        return (self.run_id, self.layer, self.neuron, self.text, self.explainer, self.call)


Rows = list[tuple[Any, ...]]
Bodies = Callable[[Connection, ClaimedShard, Sequence[RowMapping]], list[dict[str, Any]]]
Outcome = tuple[bytes, str] | RowError


def _find_missing(shard: ClaimedShard) -> tuple[list[_Draft], Rows]:
    """Fail the neurons that the run of the records has no explanation of."""
    with transaction(shard.engine) as connection:
        rows = _unexplained(shard, connection)
    where = (shard.claim.run_id, "explain", shard.claim.layer)
    reason = ("not_explained", f"run {shard.config.records.run} has no explanation", 0, None)
    return [], [(*where, row["neuron"], *reason) for row in rows]


def _explain_by_lookup(shard: ClaimedShard) -> tuple[list[_Draft], Rows]:
    run_id, layer = shard.claim.run_id, shard.claim.layer
    with transaction(shard.engine) as connection:
        texts = texts_of(connection, shard)
        tables = records.token_means(connection, *shard.neuron_range)
        wanted = {row["neuron"] for row in _unexplained(shard, connection)}
    rows = []
    for table in tables:
        if table["neuron"] in wanted:
            tokens = table["top_tokens"][:EXPLANATION_TOKENS]
            means = _means_of(table, tokens)
            text = explain_by_lookup([texts[token] for token in tokens], means)
            rows.append(_Draft(run_id, layer, table["neuron"], 0, text, "lookup"))
    return rows, []


def _means_of(table: RowMapping, tokens: list[int]) -> list[float]:
    means = dict(
        zip(
            np.frombuffer(table["tokens"], np.int32).tolist(),
            np.frombuffer(table["means"], np.float32).tolist(),
            strict=True,
        )
    )
    return [means[token] for token in tokens]


def _explain_by_calls(shard: ClaimedShard, bodies: Bodies) -> tuple[list[_Draft], Rows]:
    """Return the drafts of each neuron; one of which a draft fails has failed."""
    run_id, layer, start, stop = shard.neuron_range
    with transaction(shard.engine) as connection:
        retries = results.retries(connection, run_id, "explain", layer, start, stop)
        rows = _unexplained(shard, connection)
        asked = dict(zip(_neurons(rows), bodies(connection, shard, rows), strict=True))
    places = [(neuron, n) for neuron in asked for n in range(shard.config.explainer.candidates)]
    calls = [_call(shard, asked[neuron], n, retries.get(neuron, 0)) for neuron, n in places]
    outcomes = ask_and_read(shard, shard.config.explainer.endpoint, calls, _read)
    drafts: list[_Draft] = []
    failures: dict[int, tuple[Any, ...]] = {}
    for (neuron, number), outcome in zip(places, outcomes, strict=True):
        if isinstance(outcome, RowError):
            failures.setdefault(neuron, failure_row(shard, neuron, outcome))
        else:
            identity, text = outcome
            model = shard.config.explainer.model
            drafts.append(_Draft(run_id, layer, neuron, number, text, model, identity))
    return [d for d in drafts if d.neuron not in failures], list(failures.values())


def _neurons(rows: Sequence[RowMapping]) -> list[int]:
    return [row["neuron"] for row in rows]


def _unexplained(shard: ClaimedShard, connection: Connection) -> list[RowMapping]:
    run_id, layer, start, stop = shard.neuron_range
    stored = set(results.explanations(connection, *shard.neuron_range))
    stored |= drafts_of(connection, shard).keys()
    stored |= results.failed(connection, run_id, ("explain",), layer, start, stop)
    return [
        row
        for row in records.load(connection, *shard.neuron_range)
        if row["neuron"] not in stored and row["undefined_reason"] is None
    ]


def _about_records(
    connection: Connection, shard: ClaimedShard, rows: Sequence[RowMapping]
) -> list[dict[str, Any]]:
    """Return the question about each neuron's train records."""
    train = top_slice(Split.TRAIN, shard.config.scoring.top)
    places = [row["top_records"][train] for row in rows]
    return list(map(explanation_body, shown_records(connection, shard, rows, places)))


def _about_tokens(
    connection: Connection, shard: ClaimedShard, rows: Sequence[RowMapping]
) -> list[dict[str, Any]]:
    """Return the question about the tokens of each neuron's highest means."""
    texts = texts_of(connection, shard)
    tables = records.token_means(connection, *shard.neuron_range)
    tokens = {table["neuron"]: table["top_tokens"] for table in tables}
    return [token_space_body([texts[token] for token in tokens[row["neuron"]]]) for row in rows]


_BODIES: dict[str, Bodies] = {"llm": _about_records, "token_space": _about_tokens}


def _call(shard: ClaimedShard, asked: dict[str, Any], draft: int, sample: int) -> Call:
    """Return the question for a draft. A seed sets all but the first apart."""
    model = shard.config.explainer.model
    body = {"model": model, **asked} | ({"seed": draft} if draft else {})
    return Call(purpose="explain", model=model, body=body, sample=sample)


def _read(answers: Sequence[Answer | RowError]) -> tuple[list[Outcome], list[int]]:
    found = [_parse(answer) for answer in answers]
    return found, [i for i, outcome in enumerate(found) if isinstance(outcome, Malformed)]


def _parse(answer: Answer | RowError) -> Outcome:
    if isinstance(answer, RowError):
        return answer
    text = clean_explanation(answer.text)
    if not text:
        return Malformed("the explanation is empty", answer.attempts, answer.request_id)
    return answer.identity, text
