"""The failures of a run by class, with how many there were when."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from db.failure_classes import FailureClass, failure_classes, over_time

# What is done about a class, beside trying it again: docs/troubleshooting.md has more.
ADVICE: Mapping[str, str] = {
    "error": "Read the message and the log of the worker first.",
    "incomplete": "The server broke answers off: try again.",
    "malformed": "Answers do not hold what was asked for. If there are many, choose another model.",
    "not_explained": "The run whose records it uses has no explanation of them.",
    "reasoning": "Raise `max_tokens` of the stage in a new run: the model reasons longer.",
    "refused": "The model, or a filter before it, declined. Another answer may do.",
    "rejected": "The server refused these questions: read the message.",
    "truncated": "Raise `max_tokens` of the stage in a new run.",
    "unavailable": "The server did not answer: try again when it is well.",
}


@dataclass(frozen=True, slots=True)
class TimeCount:
    """How many failures there were in a span of time that began at `start`."""

    start: datetime
    n: int


@dataclass(frozen=True, slots=True)
class ShownClass:
    """A class of failures in a stage, what to do about it, and when they came."""

    failures: FailureClass
    advice: str
    over_time: list[TimeCount]


@dataclass(frozen=True, slots=True)
class RunFailures:
    """All classes, the most frequent first. `spans` are the beginnings of all spans that count."""

    classes: list[ShownClass]
    spans: list[datetime]


def load_failures(connection: Connection, run_id: int) -> RunFailures:
    """Return the failures of a run."""
    counts: dict[tuple[str, str], list[TimeCount]] = defaultdict(list)
    spans: set[datetime] = set()
    for count in over_time(connection, run_id):
        counts[count.stage, count.failure_class].append(TimeCount(count.start, count.n))
        spans.add(count.start)
    classes = [
        ShownClass(
            found, ADVICE.get(found.failure_class, ""), counts[found.stage, found.failure_class]
        )
        for found in failure_classes(connection, run_id)
    ]
    return RunFailures(classes, sorted(spans))
