"""Judging whether single questions are too long, or all of a kind: then the context is too small.

In the second case every neuron would fail, one after the other, so the run pauses instead.
"""

from collections import Counter
from collections.abc import Iterable

from neurogloss.errors import ContextExceeded, ContextTooSmall

# Not one: a single record may be far longer than all others.
TOO_LONG = 3  # questions of a purpose of which none was answered
TOO_LONG_AFTER_ANSWERS = 20  # ... in a row, where some were answered before


class LengthJudge:
    """Judges the questions to one model by what became of them, in order.

    Args:
        endpoint: Its name, for messages.
        answered: The purposes of which questions were answered before.
    """

    def __init__(self, endpoint: str, answered: Iterable[str] = ()) -> None:
        self._endpoint = endpoint
        self._answered = set(answered)
        self._too_long: Counter[str] = Counter()

    def answered(self, purpose: str) -> None:
        """Note that a question was answered."""
        self._answered.add(purpose)
        self._too_long.pop(purpose, None)

    def too_long(self, purpose: str, model: str, error: ContextExceeded) -> ContextTooSmall | None:
        """Note a question that is too long; return the error of the run, if all seem to be."""
        self._too_long[purpose] += 1
        most = TOO_LONG_AFTER_ANSWERS if purpose in self._answered else TOO_LONG
        if self._too_long[purpose] < most:
            return None
        return ContextTooSmall(
            f"{self._endpoint}: the last {most} questions of the kind {purpose!r} were too long "
            f"for {model}: {error.reason}. Give the server a larger context, or choose another "
            "model"
        )
