"""Estimate the calls, tokens, cost and time of a run before anything is spent."""

from collections import defaultdict
from dataclasses import dataclass

from neurogloss.config.run import RunConfig
from neurogloss.neurons.simulators.kinds import SimulatorChoice
from orchestrator.estimate.counting import Counting, StageEstimate
from orchestrator.estimate.measured import Measured, as_measured
from orchestrator.estimate.sample import Sample
from orchestrator.estimate.token_counts import TokenCounter

ALTERNATIVES = (  # (simulator kind, records per call) to compare the configured one with
    ("json", 1),
    ("json", 5),
    ("json", 10),
    ("chat_logprobs", 1),
    ("echo_logprobs", 1),
    ("token_by_token", 1),
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """The stages that make calls, and the stage `simulate` under other simulators.

    `measured_on` is the run whose calls the stages were estimated by, if there is one like it.
    """

    n_neurons: int
    sample: str
    counted_by: str
    stages: list[StageEstimate]
    other_simulators: list[StageEstimate]
    measured_on: str | None = None

    def seconds(self) -> dict[str, float]:
        """Return the duration of all calls under each bound.

        Limits of requests and tokens apply to each model of an endpoint, `max_in_flight` to the
        endpoint as a whole.
        """
        sums: defaultdict[tuple[str, str], float] = defaultdict(float)
        for stage in self.stages:
            for bound, seconds in stage.seconds.items():
                whose = stage.endpoint if bound == "max_in_flight" else stage.model
                sums[bound, f"{stage.endpoint} {whose}"] += seconds
        longest: dict[str, float] = {}
        for (bound, _), seconds in sums.items():
            longest[bound] = max(longest.get(bound, 0.0), seconds)
        return longest


def make_estimate(
    config: RunConfig,
    n_neurons: int,
    sample: Sample,
    counter: TokenCounter,
    choice: SimulatorChoice,
    latency_s: float | None = None,
    reasoning_tokens: int | None = None,
    measured: Measured | None = None,
) -> Estimate:
    """Estimate a run.

    Args:
        config: The configuration of the run.
        n_neurons: The number of neurons. All are assumed to be explained, although a run makes no
            calls about neurons that never fire.
        sample: The neurons whose prompts are counted.
        counter: The counter of tokens.
        choice: The simulator that the run uses.
        latency_s: Seconds per call; None estimates them from the length of the answer.
        reasoning_tokens: Tokens that a model thinks before each answer; None: as measured, or 0.
        measured: What a run like it has asked; not used where `reasoning_tokens` is given.
    """
    counting = Counting(config, n_neurons, sample, counter, latency_s, reasoning_tokens or 0)
    stages, others = [], []
    if "explainer" in config.calling:
        stages.append(counting.explain())
    if config.simulator.kind != "lookup":
        per_call = config.simulator.records_per_call
        if config.explainer.candidates > 1:
            stages.append(counting.choose(choice, per_call))
        if config.explainer.revise:
            stages += [counting.illustrate(), *counting.revise(choice, per_call)]
        stages.append(counting.simulate(choice, per_call))
        others = [
            counting.simulate(SimulatorChoice(kind), n)
            for kind, n in ALTERNATIVES
            if (kind, n) != (choice.kind, per_call)
        ]
    if config.scoring.also:
        stages.append(counting.classify())
    if config.scoring.control:
        stages.append(counting.control(choice, config.simulator.records_per_call))
    if measured is None or reasoning_tokens is not None:
        return Estimate(n_neurons, sample.source, counter.method, stages, others)
    stages = list(as_measured(config, n_neurons, stages, measured, latency_s))
    return Estimate(n_neurons, sample.source, counter.method, stages, others, measured.run)
