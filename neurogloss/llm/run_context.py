"""What the call sessions of one run share in a process: its ledger, its budget and its state."""

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from neurogloss.errors import NeuroglossError, RunError
from neurogloss.llm.budget import Budget
from neurogloss.llm.calls import Call, Ledger
from neurogloss.llm.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class LiveLimits:
    """The limits that may change while a run makes calls: an endpoint's, and the budget."""

    endpoint: Endpoint
    budget_usd: float | None


class RunState(Protocol):
    """The state of a run, for all processes. Its methods are called from threads."""

    def pause(self, error: RunError) -> None:
        """Pause the run in all processes."""

    def is_running(self) -> bool:
        """Return whether the run is neither paused nor cancelled."""

    def live_limits(self, endpoint: Endpoint) -> LiveLimits | None:
        """Return the limits by now of the endpoint of that name; None if they cannot be read."""


class Session(Protocol):
    """Calls of a run that can be ended."""

    def end(self, error: Exception, grace_s: float) -> None:
        """Send nothing more. Answers that arrive within `grace_s` seconds are stored."""


class UnansweredNotes(Protocol):
    """Where requests are noted that bring no answer.

    `failed` and `ended` are called in the event loop, so that they must return at once.
    """

    def failed(self, call: Call, identity: bytes, endpoint: str, error: NeuroglossError) -> None:
        """Note a request that brought no answer, to an endpoint of this name."""

    def ended(self, identity: bytes) -> None:
        """Note that a call is not tried again, if it ever was."""

    def store(self) -> None:
        """Store what was noted. Called from threads, once a second or more often."""


class NoNotes:
    """Notes that nobody reads."""

    def failed(self, call: Call, identity: bytes, endpoint: str, error: NeuroglossError) -> None:
        pass

    def ended(self, identity: bytes) -> None:
        pass

    def store(self) -> None:
        pass


@dataclass(eq=False)
class RunContext:
    """The run context of the calls in this process.

    Attributes:
        unanswered: Where requests are noted that bring no answer.
        halted: The error that paused the run here; nothing is sent any more.
        sessions: Those that make calls at the moment.
    """

    ledger: Ledger
    budget: Budget
    state: RunState
    unanswered: UnansweredNotes = field(default_factory=NoNotes)
    halted: RunError | None = None
    sessions: set[Session] = field(default_factory=set)

    async def halt(self, error: RunError, grace_s: float) -> None:
        """Pause the run and end all its sessions. Does nothing the second time."""
        if self.halted is not None:
            return
        self.halted = error
        # Before the database is told, which may take long: nothing more is sent meanwhile.
        for session in self.sessions:
            session.end(error, grace_s)
        await asyncio.to_thread(self.state.pause, error)
