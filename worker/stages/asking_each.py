"""Asking one question about each of several neurons, where every answer is read by itself."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from neurogloss.errors import Malformed, RowError
from neurogloss.llm.calls import Answer, Call
from worker.shard import ClaimedShard
from worker.stages.model_calls import ask_and_read

T = TypeVar("T")


def ask_each(
    shard: ClaimedShard, endpoint: str, calls: Sequence[Call], read: Callable[[str], T]
) -> list[tuple[T, bytes] | RowError]:
    """Return what `read` makes of each answer, with its call, or why there is nothing.

    Raises:
        RunError: The whole run is affected, and paused.
        Interrupted: The worker was told to stop, or the run was paused.
        Waiting: The questions are put into batches, and are not all answered.
    """

    def read_all(
        answers: Sequence[Answer | RowError],
    ) -> tuple[list[tuple[T, bytes] | RowError], list[int]]:
        found = [_read(answer, read) for answer in answers]
        return found, [i for i, outcome in enumerate(found) if isinstance(outcome, Malformed)]

    return ask_and_read(shard, endpoint, calls, read_all)


def _read(answer: Answer | RowError, read: Callable[[str], T]) -> tuple[T, bytes] | RowError:
    if isinstance(answer, RowError):
        return answer
    try:
        return read(answer.text), answer.identity
    except Malformed as error:
        return Malformed(error.reason, answer.attempts, answer.request_id)
