"""What `verify` finds: differences between what is stored and what the rows say."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

EXAMPLES = 1000  # differences of one kind that are kept; the others are counted


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as the rows say. `check` is its kind, `where` what it is about."""

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

    def add(self, found: Iterable[Difference]) -> Iterator[Difference]:
        """Count differences, and yield those that are kept."""
        for difference in found:
            self.counts[difference.check] += 1
            if self.counts[difference.check] <= EXAMPLES:
                self.examples.append(difference)
                yield difference


def changes(stored: Any, right: Any, names: Iterable[str]) -> str:
    """Say how the named values differ from those under `right_` and the name."""
    return ", ".join(
        f"{name} is {_shown(stored[name])}, by its rows {_shown(right[f'right_{name}'])}"
        for name in names
        if stored[name] != right[f"right_{name}"]
    )


def _shown(value: Any) -> str:
    return "missing" if value is None else str(value)
