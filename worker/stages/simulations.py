"""Simulating neurons from explanations by calls: on scored records, or to judge candidates."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from neurogloss.errors import Malformed, RowError
from neurogloss.llm.calls import Answer, Call, CallOutcome
from neurogloss.neurons.prompts import with_room
from neurogloss.neurons.simulation import Simulation
from neurogloss.neurons.simulators.base import ModelReply, Simulator, SimulatorRequest
from neurogloss.neurons.simulators.kinds import SimulatorChoice, simulator_of
from worker.shard import ClaimedShard
from worker.stages.model_calls import ask_and_read

SimulationOutcome = tuple[Simulation, bytes] | RowError  # with the identity of its call


@dataclass(frozen=True, slots=True)
class SimulationInput:
    """Texts of one neuron that are to be simulated from one explanation.

    Attributes:
        keys: One for each text, by which the caller knows them.
        texts: Each as a list of tokens.
        sample: How often a person asked to try the neuron again.
    """

    neuron: int
    explanation: str
    keys: list[int]
    texts: list[list[str]]
    sample: int = 0


def simulate_all(
    shard: ClaimedShard, inputs: Sequence[SimulationInput]
) -> list[list[SimulationOutcome]]:
    """Return, for each input, the simulation of each of its texts, or why it has none.

    Raises:
        RunError: The whole run is affected, and paused.
        Interrupted: The worker was told to stop, or the run was paused.
        Waiting: The calls are put into batches, and are not all answered.
    """
    simulator = _simulator(shard)
    parts_by_input = [list(_parts(single, simulator.records_at_once)) for single in inputs]
    all_parts = [part for parts in parts_by_input for part in parts]
    outcomes = iter(_simulate(shard, simulator, all_parts))
    return [[outcome for _ in parts for outcome in next(outcomes)] for parts in parts_by_input]


def calls_of(shard: ClaimedShard, inputs: Sequence[SimulationInput]) -> list[Call]:
    """Return the calls that `simulate_all` makes, if no answer has to be asked for again."""
    simulator = _simulator(shard)
    parts = [part for single in inputs for part in _parts(single, simulator.records_at_once)]
    return [
        _call(shard, request, part.sample)
        for part in parts
        for request in simulator.ask(part.explanation, part.texts)
    ]


def _parts(whole: SimulationInput, records_at_once: int) -> Iterator[SimulationInput]:
    """Yield the parts of an input whose texts share their calls."""
    for start in range(0, len(whole.keys), records_at_once):
        part = slice(start, start + records_at_once)
        yield replace(whole, keys=whole.keys[part], texts=whole.texts[part])


def _simulate(
    shard: ClaimedShard, simulator: Simulator, parts: Sequence[SimulationInput]
) -> list[list[SimulationOutcome]]:
    requests = [simulator.ask(part.explanation, part.texts) for part in parts]
    calls = [
        _call(shard, request, part.sample)
        for part, of_part in zip(parts, requests, strict=True)
        for request in of_part
    ]

    def read(answers: Sequence[CallOutcome]) -> tuple[list[list[SimulationOutcome]], list[int]]:
        remaining, place = iter(answers), 0
        simulations: list[list[SimulationOutcome]] = []
        unread: list[int] = []
        for part, of_part in zip(parts, requests, strict=True):
            outcomes = _read(simulator, part, list(islice(remaining, len(of_part))))
            # All calls of a part are repeated: its texts are read from all of them together.
            if any(isinstance(outcome, Malformed) for outcome in outcomes):
                unread += range(place, place + len(of_part))
            simulations.append(outcomes)
            place += len(of_part)
        return simulations, unread

    return ask_and_read(shard, shard.config.simulator.endpoint, calls, read)


def _simulator(shard: ClaimedShard) -> Simulator:
    """Return the simulator that was frozen with the run."""
    config, chosen = shard.config.simulator, shard.run.simulator
    choice = (
        SimulatorChoice.from_json(chosen) if chosen else SimulatorChoice.configured(config.kind)
    )
    return simulator_of(choice, config.records_per_call, config.answer_form)


def _call(shard: ClaimedShard, request: SimulatorRequest, sample: int) -> Call:
    model = shard.config.simulator.model
    body = {"model": model, **with_room(request.body, shard.config.simulator.max_tokens)}
    return Call(shard.claim.stage, model, body, request.path, sample)


def _read(
    simulator: Simulator, part: SimulationInput, outcomes: Sequence[CallOutcome]
) -> list[SimulationOutcome]:
    """Return the simulation of each text of a part, or why it has none."""
    answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    for outcome in outcomes:
        if isinstance(outcome, RowError):
            return [outcome] * len(part.texts)
    replies = [ModelReply(answer.text, answer.distributions) for answer in answers]
    try:
        simulations = simulator.read(part.explanation, part.texts, replies)
    except Malformed as error:
        simulations = [error] * len(part.texts)
    first = answers[0]
    return [
        Malformed(simulation.reason, first.attempts, first.request_id)
        if isinstance(simulation, Malformed)
        else (simulation, first.identity)
        for simulation in simulations
    ]
