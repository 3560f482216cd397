"""Simulate: what a neuron would do on its scored records, if its explanation were all of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from db import records, results
from db.session import transaction
from worker.api.calls import Answer, Call
from worker.errors import Malformed, RowError
from worker.neurons.lookup import LookupTable, simulate_by_lookup
from worker.neurons.prompts import (
    simulation_max_tokens,
    simulation_messages,
    simulation_response_format,
)
from worker.neurons.records import FloatArray
from worker.neurons.simulation import parse_simulation
from worker.shard_work import ShardWork
from worker.stages.calls import ask_and_read, failure_row
from worker.stages.scored_records import ScoredRecords, scored_records
from worker.stages.vocabulary import texts_of

Rows = list[tuple[Any, ...]]
Outcome = tuple[bytes, FloatArray] | RowError


def simulate(work: ShardWork) -> None:
    """Simulate the scored records of a shard's neurons, as far as they are not stored yet.

    A neuron of which one record fails has failed: a score over the rest would be another score.
    """
    kind = work.config.simulator.kind
    simulations, failures = _by_lookup(work) if kind == "lookup" else _by_calls(work)
    with work.handing_in() as connection:
        results.save_simulations(connection, simulations)
        results.save_failures(connection, failures)


def _wanted(work: ShardWork) -> tuple[list[ScoredRecords], dict[int, dict[int, bytes]]]:
    """Return the neurons to simulate, and what is stored of them."""
    run_id, layer, start, stop = work.neuron_range
    with transaction(work.engine) as connection:
        failed = results.failed(connection, run_id, ("explain", "simulate"), layer, start, stop)
        stored = results.simulations(connection, *work.neuron_range)
        wanted = [
            scored
            for scored in scored_records(connection, work, layer, start, stop)
            if scored.undefined_reason is None and scored.neuron not in failed
        ]
    return wanted, stored


def _by_lookup(work: ShardWork) -> tuple[Rows, Rows]:
    wanted, _ = _wanted(work)
    with transaction(work.engine) as connection:
        rows = records.token_means(connection, *work.neuron_range)
    tables = {
        row["neuron"]: LookupTable(
            np.frombuffer(row["tokens"], np.int32),
            np.frombuffer(row["means"], np.float32),
            row["default_mean"],
        )
        for row in rows
    }
    simulations: Rows = []
    for scored in wanted:
        expected = simulate_by_lookup(tables[scored.neuron], scored.tokens)
        for excerpt, values in dict(zip(scored.excerpts.tolist(), expected, strict=True)).items():
            simulations.append(
                _row(work, scored.neuron, excerpt, values, "neuron_activations", "lookup", None)
            )
    return simulations, []


def _by_calls(work: ShardWork) -> tuple[Rows, Rows]:
    wanted, stored = _wanted(work)
    questions = _questions(work, wanted, stored)
    calls = [call for *_, call in questions]

    def read(answers: Sequence[Answer | RowError]) -> tuple[list[Outcome], list[int]]:
        asked = zip(answers, questions, strict=True)
        found = [_parse(answer, n_tokens) for answer, (_, _, n_tokens, _) in asked]
        return found, [i for i, outcome in enumerate(found) if isinstance(outcome, Malformed)]

    outcomes = ask_and_read(work, work.config.simulator.endpoint, calls, read)
    simulations: Rows = []
    failures: dict[int, tuple[Any, ...]] = {}
    for (neuron, excerpt, *_), outcome in zip(questions, outcomes, strict=True):
        if isinstance(outcome, RowError):
            failures.setdefault(neuron, failure_row(work, neuron, outcome))
        else:
            identity, values = outcome
            scale, simulator = "simulated_normalized_activations", work.config.simulator.model
            simulations.append(_row(work, neuron, excerpt, values, scale, simulator, identity))
    return simulations, list(failures.values())


def _questions(
    work: ShardWork, wanted: list[ScoredRecords], stored: dict[int, dict[int, bytes]]
) -> list[tuple[int, int, int, Call]]:
    """Return (neuron, excerpt, n_tokens, call), a neuron's calls next to each other."""
    run_id, layer, start, stop = work.neuron_range
    with transaction(work.engine) as connection:
        texts = texts_of(connection, work)
        explanations = results.explanations(connection, *work.neuron_range)
        retries = results.retries(connection, run_id, "simulate", layer, start, stop)
    questions = []
    for scored in wanted:
        records_ = dict(zip(scored.excerpts.tolist(), scored.tokens.tolist(), strict=True))
        for excerpt, tokens in records_.items():
            if excerpt not in stored.get(scored.neuron, {}):
                shown = [texts[token] for token in tokens]
                call = _call(
                    work, explanations[scored.neuron], shown, retries.get(scored.neuron, 0)
                )
                questions.append((scored.neuron, excerpt, len(tokens), call))
    return questions


def _call(work: ShardWork, explanation: str, tokens: list[str], sample: int) -> Call:
    model = work.config.simulator.model
    body = {
        "model": model,
        "messages": simulation_messages(explanation, tokens),
        "max_tokens": simulation_max_tokens(len(tokens)),
        "temperature": 0.0,
        "response_format": simulation_response_format(len(tokens)),
    }
    return Call(purpose="simulate", model=model, body=body, sample=sample)


def _parse(answer: Answer | RowError, n_tokens: int) -> Outcome:
    if isinstance(answer, RowError):
        return answer
    try:
        return answer.identity, parse_simulation(answer.text, n_tokens)
    except RowError as error:
        return type(error)(error.reason, answer.attempts, answer.request_id)


def _row(
    work: ShardWork,
    neuron: int,
    excerpt: int,
    values: FloatArray,
    scale: str,
    simulator: str,
    call: bytes | None,
) -> tuple[Any, ...]:
    expected = values.astype(np.float16).tobytes()
    place = (work.claim.run_id, work.claim.layer, neuron, excerpt)
    return (*place, expected, None, scale, simulator, call)
