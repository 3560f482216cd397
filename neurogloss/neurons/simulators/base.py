"""What a kind of simulator is: how it asks, and how it reads what comes back.

A kind adds one module beside this one and one line in `kinds.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from neurogloss.errors import Malformed
from neurogloss.neurons.simulation import Simulation

Tokens = Sequence[str]

CHAT = "/chat/completions"
COMPLETIONS = "/completions"


@dataclass(frozen=True, slots=True)
class SimulatorRequest:
    """One request, but for the model."""

    path: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ModelReply:
    """What an answer says, and the numbers it could have said (`distributions.unpack` reads it)."""

    text: str
    distributions: bytes | None = None


class Simulator(Protocol):
    """Simulates a neuron on its records, some at a time."""

    kind: ClassVar[str]

    @property
    def records_at_once(self) -> int:
        """Return how many records of a neuron may share their questions."""

    def ask(self, explanation: str, records: Sequence[Tokens]) -> list[SimulatorRequest]:
        """Return the questions about these records."""

    def read(
        self, explanation: str, records: Sequence[Tokens], replies: Sequence[ModelReply]
    ) -> list[Simulation | Malformed]:
        """Return what each record's simulation is, or why it cannot be read.

        Args:
            explanation: As it was asked about.
            records: As they were asked about.
            replies: To the questions, in their order.

        Raises:
            Malformed: No record can be read.
        """
