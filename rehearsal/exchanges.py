"""What all kinds of requests have in common: a question that was read, and what is said to it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rehearsal.faults import ContentFault
from rehearsal.replies import Usage


@dataclass(frozen=True, slots=True)
class Spoken:
    """An answer. `fault` is what makes it useless, if anything does."""

    completion_tokens: int
    fault: ContentFault | None
    to_json: Callable[[Usage], bytes]


class Exchange(Protocol):
    """A request that can be answered."""

    @property
    def digest(self) -> bytes:
        """SHA-256 of the request body."""

    @property
    def model(self) -> str: ...

    @property
    def prompt(self) -> str: ...

    @property
    def prompt_tokens(self) -> int: ...

    def speak(self, fault: ContentFault | None) -> Spoken:
        """Answer, spoilt by a fault if there is one that can strike this answer."""
