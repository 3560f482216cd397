"""What came of a schedule and of its faults, kept in a file of one line for each schedule."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Injected:
    """One fault of a schedule.

    Attributes:
        to: What it struck.
        may_repeat, may_lose: Calls that were in flight in what it struck.
        next_result_s: From the strike to the next change of the run that was stored.
        repeated: Calls, up to the next fault.
    """

    kind: str
    to: str
    at_s: float
    may_repeat: int
    may_lose: int
    healed: bool = False
    next_result_s: float | None = None
    repeated: int = 0


@dataclass
class Outcome:
    """A schedule that has ended.

    Attributes:
        lost: Answers that were paid for and are not stored.
        spoilt: Answers that the endpoint gave and that could not arrive.
        stood_still_s: The longest time for which the run stood still without a reason.
    """

    seed: int
    variant: str
    seconds: float
    injected: list[Injected]
    repeated: int
    lost: int
    spoilt: int
    stood_still_s: float
    wrong: list[str] = field(default_factory=list)

    @property
    def may_repeat(self) -> int:
        """How many calls may be repeated."""
        return self.spoilt + sum(fault.may_repeat for fault in self.injected)

    @property
    def may_lose(self) -> int:
        """How many answers may be paid for and not stored."""
        return self.spoilt + sum(fault.may_lose for fault in self.injected)

    def append_to(self, file: Path) -> None:
        """Add a line to a file."""
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(self)) + "\n")


def read_outcomes(file: Path) -> list[Outcome]:
    """Return the outcomes that a file holds; none if there is no file yet."""
    if not file.exists():
        return []
    values = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [
        Outcome(**(value | {"injected": [Injected(**fault) for fault in value["injected"]]}))
        for value in values
    ]
