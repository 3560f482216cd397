"""The interface of all kinds of request: a request that was read, and the answer to it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rehearsal.faults import ContentFault
from rehearsal.replies import Usage


@dataclass(frozen=True, slots=True)
class RenderedAnswer:
    """An answer that is ready to be sent, once its usage is known.

    `fault` is the fault that makes it useless, if any. Of its tokens, `reasoning_tokens` were
    thought before it.
    """

    completion_tokens: int
    fault: ContentFault | None
    to_json: Callable[[Usage], bytes]
    reasoning_tokens: int = 0


class Exchange(Protocol):
    """A valid request, which can be answered."""

    @property
    def digest(self) -> bytes:
        """SHA-256 of the request body."""

    @property
    def model(self) -> str: ...

    @property
    def prompt(self) -> str: ...

    @property
    def prompt_tokens(self) -> int: ...

    def render(self, fault: ContentFault | None) -> RenderedAnswer:
        """Return the answer after a fault, if there is one that can apply to it."""
