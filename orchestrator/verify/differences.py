"""What `verify` finds: differences between what is stored and what the rows say."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from db.counter_differences import Change

EXAMPLES = 1000  # differences of one kind that are kept; the others are counted


@dataclass(frozen=True, slots=True)
class Difference:
    """A stored value that is not what the rows say. `check` is its kind, `where` its place."""

    check: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.check}: {self.where}: {self.what}"


@dataclass(slots=True)
class Findings:
    """Differences by kind: all are counted, the first of each kind are kept."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: list[Difference] = field(default_factory=list)

    def add(self, differences: Iterable[Difference]) -> Iterator[Difference]:
        """Count differences, and yield those that are kept."""
        for difference in differences:
            self.counts[difference.check] += 1
            if self.counts[difference.check] <= EXAMPLES:
                self.examples.append(difference)
                yield difference


def described(changes: Iterable[Change]) -> str:
    """Return stored values beside those that they should be."""
    return ", ".join(
        f"{name} is {_shown(stored)}, by its rows {_shown(right)}"
        for name, stored, right in changes
    )


def _shown(value: Any) -> str:
    return "missing" if value is None else str(value)
