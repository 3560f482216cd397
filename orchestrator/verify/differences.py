"""The findings of `verify`: differences between stored values and recomputed ones."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from db.counter_differences import Change

# Differences kept per kind; further ones are only counted. One fault may concern every neuron.
EXAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Difference:
    """A stored value that differs from the recomputed one.

    Attributes:
        check: The kind of check, such as `scores`.
        where: The neuron, shard or counter with the value.
        what: The stored value and the recomputed one, in words.
    """

    check: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.check}: {self.where}: {self.what}"


@dataclass(slots=True)
class Findings:
    """Differences by kind: all are counted, the first `EXAMPLES` of each kind are kept."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: list[Difference] = field(default_factory=list)

    def add(self, differences: Iterable[Difference]) -> Iterator[Difference]:
        """Count differences, and yield those that are kept as examples."""
        for difference in differences:
            self.counts[difference.check] += 1
            if self.counts[difference.check] <= EXAMPLES:
                self.examples.append(difference)
                yield difference


def described(changes: Iterable[Change]) -> str:
    """Describe stored values and the values recomputed from their rows."""
    return ", ".join(
        f"{name} is {_shown(stored)}, by its rows {_shown(right)}"
        for name, stored, right in changes
    )


def _shown(value: Any) -> str:
    return "missing" if value is None else str(value)
