"""The interface of simulators: the requests for records, and the reading of the answers.

A new kind is one module beside this one and one case in `kinds.simulator_of`.
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
    """One request, without the model. `path` is relative to the endpoint's base URL."""

    path: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ModelReply:
    """The text of an answer, and its packed distributions (see `neurons.distributions`), if any."""

    text: str
    distributions: bytes | None = None


class Simulator(Protocol):
    """Simulates a neuron on its records, one or several in each request."""

    kind: ClassVar[str]

    @property
    def records_at_once(self) -> int:
        """The largest number of records that `ask` takes."""

    def ask(self, explanation: str, records: Sequence[Tokens]) -> list[SimulatorRequest]:
        """Return the requests to simulate these records."""

    def read(
        self, explanation: str, records: Sequence[Tokens], replies: Sequence[ModelReply]
    ) -> list[Simulation | Malformed]:
        """Return the simulation of each record, or the error for one that cannot be read.

        Args:
            explanation: The same as in `ask`.
            records: The same as in `ask`.
            replies: The answers to the requests, in their order.

        Raises:
            Malformed: No record can be read.
        """
