"""Having texts simulated from explanations, whatever for: the scored records, or to judge."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from neurogloss.errors import Malformed, RowError
from neurogloss.llm.calls import Answer, Call
from neurogloss.neurons.simulation import Simulation
from neurogloss.neurons.simulators.base import ModelReply, Simulator, SimulatorRequest
from neurogloss.neurons.simulators.kinds import SimulatorChoice, simulator_of
from worker.shard import ClaimedShard
from worker.stages.model_calls import ask_and_read

Outcome = tuple[Simulation, bytes] | RowError  # with the call that it stems from


@dataclass(frozen=True, slots=True)
class ToSimulate:
    """Texts of one neuron, token by token, that one explanation is to be simulated on.

    `keys` tell the texts apart. `sample` counts how often a person asked to try the neuron again.
    """

    neuron: int
    explanation: str
    keys: list[int]
    texts: list[list[str]]
    sample: int = 0


def simulate_all(shard: ClaimedShard, wanted: Sequence[ToSimulate]) -> list[list[Outcome]]:
    """Return, for each of `wanted`, the simulation of each of its texts, or why it has none.

    Raises:
        RunError: The whole run is affected, and paused.
        Interrupted: The worker was told to stop, or the run was paused.
        Waiting: The questions are put into batches, and are not all answered.
    """
    simulator = _simulator(shard)
    parts = [list(_parts(one, simulator.records_at_once)) for one in wanted]
    outcomes = iter(_simulate(shard, simulator, [part for some in parts for part in some]))
    return [[outcome for _ in some for outcome in next(outcomes)] for some in parts]


def _parts(wanted: ToSimulate, at_once: int) -> Iterator[ToSimulate]:
    """Yield what is asked about together."""
    for place in range(0, len(wanted.keys), at_once):
        part = slice(place, place + at_once)
        yield ToSimulate(
            wanted.neuron,
            wanted.explanation,
            wanted.keys[part],
            wanted.texts[part],
            wanted.sample,
        )


def _simulate(
    shard: ClaimedShard, simulator: Simulator, parts: Sequence[ToSimulate]
) -> list[list[Outcome]]:
    asked = [simulator.ask(part.explanation, part.texts) for part in parts]
    calls = [
        _call(shard, question, part.sample)
        for part, questions in zip(parts, asked, strict=True)
        for question in questions
    ]

    def read(answers: Sequence[Answer | RowError]) -> tuple[list[list[Outcome]], list[int]]:
        remaining, place = iter(answers), 0
        found: list[list[Outcome]] = []
        unread: list[int] = []
        for part, questions in zip(parts, asked, strict=True):
            outcomes = _read(simulator, part, list(islice(remaining, len(questions))))
            if any(isinstance(outcome, Malformed) for outcome in outcomes):
                unread += range(place, place + len(questions))
            found.append(outcomes)
            place += len(questions)
        return found, unread

    return ask_and_read(shard, shard.config.simulator.endpoint, calls, read)


def _simulator(shard: ClaimedShard) -> Simulator:
    """Return the simulator that was frozen with the run."""
    config, chosen = shard.config.simulator, shard.run.simulator
    choice = (
        SimulatorChoice.from_json(chosen) if chosen else SimulatorChoice.configured(config.kind)
    )
    return simulator_of(choice, config.records_per_call)


def _call(shard: ClaimedShard, question: SimulatorRequest, sample: int) -> Call:
    model = shard.config.simulator.model
    body = {"model": model, **question.body}
    return Call(shard.claim.stage, model, body, question.path, sample)


def _read(
    simulator: Simulator, part: ToSimulate, answers: Sequence[Answer | RowError]
) -> list[Outcome]:
    """Return each text's simulation with the call that it stems from, or why it has none."""
    good = [answer for answer in answers if isinstance(answer, Answer)]
    for answer in answers:
        if isinstance(answer, RowError):
            return [answer] * len(part.texts)
    replies = [ModelReply(answer.text, answer.distributions) for answer in good]
    try:
        found = simulator.read(part.explanation, part.texts, replies)
    except Malformed as error:
        found = [error] * len(part.texts)
    first = good[0]
    return [
        Malformed(outcome.reason, first.attempts, first.request_id)
        if isinstance(outcome, Malformed)
        else (outcome, first.identity)
        for outcome in found
    ]
