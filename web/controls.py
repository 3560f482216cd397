"""The changes that pages may make to runs, as an interface.

The package `web` must not import the commands that make them: `serve` passes an implementation.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class NeuronOf(NamedTuple):
    """A neuron of a run."""

    layer: int
    neuron: int


class OwnScore(NamedTuple):
    """The run that scores a person's explanation, and what was done."""

    run: str
    sentence: str


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

    def retry(
        self,
        run: str,
        stage: str | None = None,
        failure_class: str | None = None,
        neuron: NeuronOf | None = None,
    ) -> str:
        """Reset failed neurons, so that they are tried again."""
        ...

    def set_limits(self, run: str, assignments: Sequence[str]) -> str:
        """Change limits, prices or the budget of a run, by KEY=VALUE as the command `set` does."""
        ...

    def redo(self, run: str, stage: str, neuron: NeuronOf) -> str:
        """Explain or simulate a neuron again, which has results."""
        ...

    def score(self, run: str, neuron: NeuronOf, explanation: str) -> OwnScore:
        """Score an explanation that a person wrote, in a run of its own."""
        ...
