"""The kinds of simulator, and the choice among them that is frozen with a run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from neurogloss.neurons.records import MAX_NORMALIZED
from neurogloss.neurons.simulators.answer_forms import FormName
from neurogloss.neurons.simulators.base import Simulator
from neurogloss.neurons.simulators.chat_logprobs import ChatLogprobsSimulator
from neurogloss.neurons.simulators.echo_logprobs import EchoLogprobsSimulator
from neurogloss.neurons.simulators.json_simulator import JsonSimulator
from neurogloss.neurons.simulators.token_by_token import TokenByTokenSimulator


@dataclass(frozen=True, slots=True)
class SimulatorChoice:
    """The simulator that a run uses, frozen with it: configured, or found by probing its endpoint.

    `top_logprobs` is the number of alternatives to ask for at each token. `prompt_logprobs` says
    that log probabilities of a prompt are asked for by vLLM's parameter of that name, not by
    `echo`. `reason` tells people why this kind was chosen. `highest` is the number that stands for
    the strongest activation: 9 where 10 is no token, so that its probability cannot be read.
    """

    kind: str
    top_logprobs: int = 20
    prompt_logprobs: bool = False
    reason: str = "configured"
    highest: int = MAX_NORMALIZED

    @classmethod
    def configured(cls, kind: str) -> Self:
        """Return the choice without probing the endpoint, for which `auto` is `json`."""
        return cls("json" if kind == "auto" else kind)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the choice that `to_json` wrote."""
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def simulator_of(
    choice: SimulatorChoice, records_per_call: int = 1, form: FormName = "positions"
) -> Simulator:
    """Return the simulator of a choice; records per call and form of answer are for `json`.

    Raises:
        ValueError: The kind makes no calls, or is unknown.
    """
    match choice.kind:
        case "json":
            return JsonSimulator(records_per_call, form)
        case "chat_logprobs":
            return ChatLogprobsSimulator(choice.top_logprobs, choice.highest)
        case "echo_logprobs":
            return EchoLogprobsSimulator(
                choice.top_logprobs, choice.prompt_logprobs, choice.highest
            )
        case "token_by_token":
            return TokenByTokenSimulator(choice.top_logprobs, choice.highest)
    raise ValueError(f"{choice.kind!r} makes no calls")
