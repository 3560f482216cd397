"""Batches: files of requests that are answered over some time, for half the price."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from rehearsal.batch_lines import (
    BatchLine,
    BatchRejected,
    join,
    read_lines,
    result_line,
    unanswered_line,
)
from rehearsal.files import Files
from rehearsal.handler import CHAT, COMPLETIONS, RequestHandler
from rehearsal.options import RehearsalOptions
from rehearsal.replies import ApiError
from rehearsal.seeded_random import draw

State = Literal[
    "validating",
    "failed",
    "in_progress",
    "finalizing",
    "completed",
    "expired",
    "cancelling",
    "cancelled",
]
ENDED: Final = frozenset({"failed", "completed", "expired", "cancelled"})
WINDOW: Final = "24h"
_WINDOW_S = 24 * 3600
_VALIDATING_SHARE = 0.1  # of the time that a batch takes
_LINES_AT_ONCE = 50  # so that one large batch does not hold up the event loop


@dataclass(slots=True)
class Batch:
    """One batch and its progress."""

    id: str
    path: str
    input_file_id: str
    metadata: Mapping[str, str]
    started: float
    """Seconds of the monotonic clock."""
    expires: bool
    """Whether it expires when half of its lines are answered."""
    state: State = "validating"
    times: dict[str, int] = field(default_factory=dict)
    """The time at which it entered each state, in seconds since the epoch."""
    errors: list[dict[str, Any]] = field(default_factory=list)
    lines: list[BatchLine] = field(default_factory=list)
    next_line: int = 0
    answered: list[bytes] = field(default_factory=list)
    failed: list[bytes] = field(default_factory=list)
    output_file_id: str | None = None
    error_file_id: str | None = None

    def enter(self, state: State) -> None:
        self.state = state
        self.times[state] = int(time.time())

    @property
    def enqueued_tokens(self) -> int:
        """The tokens that count towards the limit on enqueued tokens."""
        # Before its validation a batch has no lines, and what has ended no longer counts.
        is_enqueued = self.state in ("in_progress", "finalizing", "cancelling")
        return sum(line.prompt_tokens for line in self.lines) if is_enqueued else 0

    def to_dict(self) -> dict[str, Any]:
        """Return the batch as the API shows it."""
        created = self.times["validating"]
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.path,
            "errors": {"object": "list", "data": self.errors} if self.errors else None,
            "input_file_id": self.input_file_id,
            "completion_window": WINDOW,
            "status": self.state,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": created,
            "in_progress_at": self.times.get("in_progress"),
            "expires_at": created + _WINDOW_S,
            "finalizing_at": self.times.get("finalizing"),
            "completed_at": self.times.get("completed"),
            "failed_at": self.times.get("failed"),
            "expired_at": self.times.get("expired"),
            "cancelling_at": self.times.get("cancelling"),
            "cancelled_at": self.times.get("cancelled"),
            "request_counts": {
                "total": len(self.lines),
                "completed": len(self.answered),
                "failed": len(self.failed),
            },
            "metadata": dict(self.metadata) or None,
        }


class Batches:
    """All batches of a server. They make progress when `advance` is called."""

    def __init__(self, handler: RequestHandler, files: Files, options: RehearsalOptions) -> None:
        self._handler, self._files = handler, files
        self._seed, self._options = options.seed, options.batches
        self._batches: dict[str, Batch] = {}

    def create(self, path: str, file_id: str, metadata: Mapping[str, str], now: float) -> Batch:
        """Create a batch. As with real servers, its file is validated later.

        Raises:
            ApiError: 400 for a path without batches, 404 for a file that does not exist.
        """
        if path not in (CHAT, COMPLETIONS):
            message = f"endpoint: there are batches for {CHAT} and {COMPLETIONS}"
            raise ApiError(400, message, param="endpoint")
        self._files.get(file_id)
        number = len(self._batches)
        batch = Batch(
            id=f"batch_rehearsal_{number + 1:06d}",
            path=path,
            input_file_id=file_id,
            metadata=metadata,
            started=now,
            # By number, not by chance, so that a test knows which batches expire.
            expires=number < self._options.expiries,
        )
        batch.enter("validating")
        self._batches[batch.id] = batch
        self._handler.count_batch()
        return batch

    def get(self, batch_id: str) -> Batch:
        """Return a batch.

        Raises:
            ApiError: 404 if there is none.
        """
        if batch_id not in self._batches:
            raise ApiError(404, f"No batch found with id '{batch_id}'.", param="id")
        return self._batches[batch_id]

    def page(self, after: str | None, limit: int) -> dict[str, Any]:
        """Return the newest batches, or those older than `after`.

        Raises:
            ApiError: 404 if there is no such batch.
        """
        newest = list(reversed(self._batches.values()))
        start = newest.index(self.get(after)) + 1 if after else 0
        shown = newest[start : start + limit]
        return {
            "object": "list",
            "data": [batch.to_dict() for batch in shown],
            "first_id": shown[0].id if shown else None,
            "last_id": shown[-1].id if shown else None,
            "has_more": start + limit < len(newest),
        }

    def cancel(self, batch_id: str) -> Batch:
        """Cancel a batch; answers that it has already remain available, and are charged.

        Raises:
            ApiError: 404 if there is none, 409 if it has ended.
        """
        batch = self.get(batch_id)
        if batch.state in ENDED:
            raise ApiError(409, f"Cannot cancel a batch with status '{batch.state}'.")
        batch.enter("cancelling")
        return batch

    def advance(self, now: float) -> None:
        """Advance all batches to the time `now`, each by at most `_LINES_AT_ONCE` lines."""
        for batch in self._batches.values():
            match batch.state:
                case "validating" if self._share(batch, now) >= _VALIDATING_SHARE:
                    self._validate(batch)
                case "in_progress":
                    self._answer_lines(batch, self._share(batch, now))
                case "finalizing":
                    self._end(batch, "completed")
                case "cancelling":
                    self._end(batch, "cancelled")

    def _share(self, batch: Batch, now: float) -> float:
        """Return the share of a batch's time that has passed, from 0 to 1."""
        seconds = self._options.seconds
        return min(1.0, (now - batch.started) / seconds) if seconds else 1.0

    def _validate(self, batch: Batch) -> None:
        try:
            content = self._files.get(batch.input_file_id).content
            batch.lines = read_lines(content, batch.path, self._options.max_lines)
            self._refuse_over_limit(batch)
        except BatchRejected as error:
            batch.errors, batch.lines = [error.to_dict()], []
            batch.enter("failed")
        except ApiError as error:  # the file was deleted meanwhile
            batch.errors = [BatchRejected("invalid_file", error.message).to_dict()]
            batch.enter("failed")
        else:
            batch.enter("in_progress")

    def _refuse_over_limit(self, batch: Batch) -> None:
        limit = self._options.max_enqueued_tokens
        under_way = sum(other.enqueued_tokens for other in self._batches.values())
        own = sum(line.prompt_tokens for line in batch.lines)
        if limit is not None and under_way + own > limit:
            raise BatchRejected(
                "token_limit_exceeded",
                f"Enqueued token limit reached: {under_way + own} of {limit} enqueued tokens. "
                "Please try again once some in_progress batches have been completed.",
            )

    def _answer_lines(self, batch: Batch, share: float) -> None:
        due = int(share * len(batch.lines))
        if batch.expires:
            due = min(due, len(batch.lines) // 2)
        stop = min(due, batch.next_line + _LINES_AT_ONCE)
        for number in range(batch.next_line, stop):
            line = batch.lines[number]
            reply = self._handler.batch_reply(line.body, batch.path)
            results = batch.answered if reply.status == 200 else batch.failed
            results.append(result_line(number, line, reply))
        batch.next_line = stop
        # A slow server can be late: its last lines are answered before the batch ends.
        if share >= 1 and stop == due:
            if batch.expires:
                self._end(batch, "expired")
            else:
                batch.enter("finalizing")

    def _end(self, batch: Batch, state: State) -> None:
        rest = [
            unanswered_line(number, batch.lines[number], f"batch_{state}", "it was not answered")
            for number in range(batch.next_line, len(batch.lines))
        ]
        batch.output_file_id = self._results(batch, "output", batch.answered)
        batch.error_file_id = self._results(batch, "error", [*batch.failed, *rest])
        batch.enter(state)

    def _results(self, batch: Batch, kind: str, rows: list[bytes]) -> str | None:
        """Store result lines as a file, shuffled so that no client relies on their order."""
        if not rows:
            return None
        shuffled = sorted(rows, key=lambda row: draw(self._seed, kind, row))
        return self._files.add(f"{batch.id}_{kind}.jsonl", "batch_output", join(shuffled)).id
