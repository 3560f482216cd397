"""What pages may change, as an interface: `serve` hands in what does it."""

from typing import Protocol


class Controls(Protocol):
    """Changes to runs.

    Each method does what the command of the same name does, returns a sentence that says what was
    done, and raises `InputError` with one that says why it was not.
    """

    def pause(self, run: str) -> str:
        """Pause a run."""
        ...

    def resume(self, run: str) -> str:
        """Let a paused run go on, where workers and a dispatcher are."""
        ...

    def retry(self, run: str, stage: str | None, failure_class: str | None) -> str:
        """Reset failed neurons, so that they are tried again."""
        ...
