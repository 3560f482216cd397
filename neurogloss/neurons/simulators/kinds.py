"""Which kinds of simulator there are, and which of them a run uses."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from neurogloss.neurons.simulators.base import Simulator
from neurogloss.neurons.simulators.chat_logprobs import ChatLogprobsSimulator
from neurogloss.neurons.simulators.echo_logprobs import EchoLogprobsSimulator
from neurogloss.neurons.simulators.json_object import JsonSimulator
from neurogloss.neurons.simulators.token_by_token import TokenByTokenSimulator


@dataclass(frozen=True, slots=True)
class SimulatorChoice:
    """What was found out about an endpoint and is frozen with the run that asks it.

    `kind` is the kind that calls are made with. `top_logprobs` alternatives are asked for at each
    token. With `prompt_logprobs`, those of a prompt are asked for in vLLM's way. `reason` is for
    people.
    """

    kind: str
    top_logprobs: int = 20
    prompt_logprobs: bool = False
    reason: str = "configured"

    @classmethod
    def configured(cls, kind: str) -> Self:
        """Return what a configuration says by itself; `auto` is `json` where nothing was asked."""
        return cls("json" if kind == "auto" else kind)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return a choice as it was stored."""
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Return what is stored."""
        return asdict(self)


def simulator_of(choice: SimulatorChoice, records_per_call: int = 1) -> Simulator:
    """Return the simulator that was chosen.

    Raises:
        ValueError: There is none of this kind that makes calls.
    """
    match choice.kind:
        case "json":
            return JsonSimulator(records_per_call)
        case "chat_logprobs":
            return ChatLogprobsSimulator(choice.top_logprobs)
        case "echo_logprobs":
            return EchoLogprobsSimulator(choice.top_logprobs, choice.prompt_logprobs)
        case "token_by_token":
            return TokenByTokenSimulator(choice.top_logprobs)
    raise ValueError(f"{choice.kind!r} makes no calls")
