"""What one fault did, and what may come of it."""

from collections.abc import Callable
from dataclasses import dataclass

PROBE_CALLS = 3  # of explainer, simulator and scorer, before a run is created


@dataclass(frozen=True)
class Strike:
    """What a fault did.

    Attributes:
        to: What it struck.
        repeats: How many API workers may have to ask again for what they had in flight.
        loses: How many of them may lose answers that came: those that end, or sleep through their
            time-outs.
        heal: Ends the fault; None where it was over at once.
        after_s: When to heal.
        stops_all: Whether nothing can go on until it is healed.
        delays_s: For how long nothing may happen after it.
        asks_again: How many calls it makes itself that were made before.
    """

    to: str
    repeats: int = 0
    loses: int = 0
    heal: Callable[[], None] | None = None
    after_s: float = 0.0
    stops_all: bool = False
    delays_s: float = 0.0
    asks_again: int = 0
