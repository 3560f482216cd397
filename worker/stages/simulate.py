"""Simulate: what a neuron would do on its scored records, if its explanation were all of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from db import records, results
from db.session import transaction
from worker.api.calls import Answer, Call
from worker.errors import Malformed, RowError
from worker.neurons.lookup import LookupTable, simulate_by_lookup
from worker.neurons.simulation import Simulation
from worker.neurons.simulators.asking import Question, Reply, Simulator
from worker.neurons.simulators.kinds import SimulatorChoice, simulator_of
from worker.shard_work import ShardWork
from worker.stages.calls import ask_and_read, failure_row
from worker.stages.scored_records import ScoredRecords, scored_records
from worker.stages.vocabulary import texts_of

Rows = list[tuple[Any, ...]]
Outcome = tuple[Simulation, bytes] | RowError  # with the call that it stems from


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
            simulation, scale = Simulation(values), "neuron_activations"
            simulations.append(_row(work, scored.neuron, excerpt, simulation, scale, "lookup"))
    return simulations, []


@dataclass(frozen=True, slots=True)
class _Group:
    """Records of one neuron that are asked about together."""

    neuron: int
    explanation: str
    excerpts: list[int]
    records: list[list[str]]
    sample: int


def _by_calls(work: ShardWork) -> tuple[Rows, Rows]:
    simulator = _simulator(work)
    groups = list(_groups(work, simulator.records_at_once))
    asked = [simulator.ask(group.explanation, group.records) for group in groups]
    calls = [
        _call(work, question, group.sample)
        for group, questions in zip(groups, asked, strict=True)
        for question in questions
    ]

    def read(answers: Sequence[Answer | RowError]) -> tuple[list[list[Outcome]], list[int]]:
        remaining, place = iter(answers), 0
        found: list[list[Outcome]] = []
        unread: list[int] = []
        for group, questions in zip(groups, asked, strict=True):
            outcomes = _read(simulator, group, list(islice(remaining, len(questions))))
            if any(isinstance(outcome, Malformed) for outcome in outcomes):
                unread += range(place, place + len(questions))
            found.append(outcomes)
            place += len(questions)
        return found, unread

    outcomes = ask_and_read(work, work.config.simulator.endpoint, calls, read)
    simulations: Rows = []
    failures: dict[int, tuple[Any, ...]] = {}
    for group, found in zip(groups, outcomes, strict=True):
        for excerpt, outcome in zip(group.excerpts, found, strict=True):
            if isinstance(outcome, RowError):
                failures.setdefault(group.neuron, failure_row(work, group.neuron, outcome))
            else:
                simulation, call = outcome
                scale, model = "simulated_normalized_activations", work.config.simulator.model
                row = _row(work, group.neuron, excerpt, simulation, scale, model, call)
                simulations.append(row)
    return simulations, list(failures.values())


def _simulator(work: ShardWork) -> Simulator:
    """Return the simulator that was frozen with the run."""
    config, chosen = work.config.simulator, work.run["simulator"]
    choice = (
        SimulatorChoice.from_json(chosen) if chosen else SimulatorChoice.configured(config.kind)
    )
    return simulator_of(choice, config.records_per_call)


def _groups(work: ShardWork, records_at_once: int) -> Iterator[_Group]:
    """Yield the records that have no simulation yet, those of a neuron next to each other."""
    run_id, layer, start, stop = work.neuron_range
    wanted, stored = _wanted(work)
    with transaction(work.engine) as connection:
        texts = texts_of(connection, work)
        explanations = results.explanations(connection, *work.neuron_range)
        retries = results.retries(connection, run_id, "simulate", layer, start, stop)
    for scored in wanted:
        records_ = dict(zip(scored.excerpts.tolist(), scored.tokens.tolist(), strict=True))
        missing = [excerpt for excerpt in records_ if excerpt not in stored.get(scored.neuron, {})]
        for place in range(0, len(missing), records_at_once):
            excerpts = missing[place : place + records_at_once]
            yield _Group(
                neuron=scored.neuron,
                explanation=explanations[scored.neuron],
                excerpts=excerpts,
                records=[[texts[token] for token in records_[e]] for e in excerpts],
                sample=retries.get(scored.neuron, 0),
            )


def _call(work: ShardWork, question: Question, sample: int) -> Call:
    model = work.config.simulator.model
    body = {"model": model, **question.body}
    return Call(purpose="simulate", model=model, body=body, path=question.path, sample=sample)


def _read(
    simulator: Simulator, group: _Group, answers: Sequence[Answer | RowError]
) -> list[Outcome]:
    """Return each record's simulation with the call that it stems from, or why it has none."""
    good = [answer for answer in answers if isinstance(answer, Answer)]
    for answer in answers:
        if isinstance(answer, RowError):
            return [answer] * len(group.records)
    replies = [Reply(answer.text, answer.distributions) for answer in good]
    try:
        found = simulator.read(group.explanation, group.records, replies)
    except Malformed as error:
        found = [error] * len(group.records)
    first = good[0]
    return [
        Malformed(outcome.reason, first.attempts, first.request_id)
        if isinstance(outcome, Malformed)
        else (outcome, first.identity)
        for outcome in found
    ]


def _row(
    work: ShardWork,
    neuron: int,
    excerpt: int,
    simulation: Simulation,
    scale: str,
    simulator: str,
    call: bytes | None = None,
) -> tuple[Any, ...]:
    place = (work.claim.run_id, work.claim.layer, neuron, excerpt)
    expected = simulation.expected.astype(np.float16).tobytes()
    covered = simulation.distribution
    distribution = None if covered is None else covered.astype(np.float16).tobytes()
    return (*place, expected, distribution, scale, simulator, call)
