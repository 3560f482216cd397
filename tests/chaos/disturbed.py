"""One run with its faults, from the first dispatcher to the end."""

import random
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from rehearsal.server import RehearsalServer
from tests.chaos.faults import KINDS, OF_CREATED_RUNS
from tests.chaos.outcome import Injected
from tests.chaos.stand_still import StandStill
from tests.chaos.strike import PROBE_CALLS, Strike
from tests.chaos.world import MAIN, World

ENDS_DISPATCHERS = ("dispatcher", "postgres", "redis", "pooler")  # or may, if it is struck
TEND_EVERY_S = 0.2
LOOK_EVERY_S = 0.5


class Disturbed:
    """A run. `kinds` are dealt in an order that the seed says, as evenly as may be."""

    def __init__(
        self,
        world: World,
        server: RehearsalServer,
        seed: int,
        kinds: Sequence[str],
        n_faults: int,
        deadline_s: float,
        most_in_flight: int,
    ) -> None:
        self._world, self._server, self._deadline_s = world, server, deadline_s
        self._most_in_flight = most_in_flight
        self._dice = random.Random(seed)
        self._left = _deal(self._dice, kinds, n_faults)
        self._next_at = self._dice.uniform(1.0, 4.0)
        self._healing: list[tuple[float, Strike, Injected]] = []
        self._still = StandStill(world)
        self._look_at = 0.0
        self._explained_until: list[float] = []
        self._repeated = 0
        self.injected: list[Injected] = []
        self.wrong: list[str] = []
        self.seconds = 0.0

    @property
    def stood_still_s(self) -> float:
        """The longest time for which the run stood still without a reason."""
        return self._still.longest_s

    def run(self, config: Path) -> None:
        """Return when the run is done, or takes too long."""
        self._began = time.monotonic()
        self._world.begin_run(config)
        while not self._is_over():
            time.sleep(TEND_EVERY_S)
            self.seconds = time.monotonic() - self._began
            self._heal(self.seconds)
            self._world.tend()
            self._look()
            if self._left and self.seconds >= self._next_at:
                self._strike()
        self._heal(float("inf"))
        self._world.tend()
        self._attribute_repeats()

    def _is_over(self) -> bool:
        if self.seconds > self._deadline_s:
            late = f"the run is not done after {self._deadline_s:.0f} s"
            self.wrong.append(f"{late}: {self._state()}")
            return True
        return self._world.children[MAIN].is_done

    def _state(self) -> str:
        with suppress(DBAPIError):
            return str(self._world.rows(_STATE))
        return "the database is away"

    def _strike(self) -> None:
        kind = self._next_kind()
        if kind is None:
            return
        self._attribute_repeats()
        strike = KINDS[kind](self._world, self._dice)
        may_repeat = self._in_flight(strike, strike.repeats) + strike.asks_again
        risks = may_repeat, self._in_flight(strike, strike.loses)
        found = Injected(kind, strike.to, self.seconds, *risks)
        self.injected.append(found)
        self._healing.append((self.seconds + strike.after_s, strike, found))
        until = strike.after_s if strike.stops_all else 0.0
        self._explained_until.append(self.seconds + max(until, strike.delays_s))
        self._next_at = self.seconds + self._dice.uniform(0.3, 3.0)

    def _next_kind(self) -> str | None:
        """Take the next kind of fault; those of a run that is there wait until it is."""
        for place, kind in enumerate(self._left):
            if kind not in OF_CREATED_RUNS or self._is_created():
                return self._left.pop(place)
        return None

    def _in_flight(self, strike: Strike, workers: int) -> int:
        """Return how many calls a fault may have taken the answers of, at most.

        Before there is a run, a dispatcher that ends takes the answers of the probe with it: nobody
        can store them yet.
        """
        at_most = self._most_in_flight * workers
        if strike.to.startswith(ENDS_DISPATCHERS) and not self._is_created():
            return at_most + PROBE_CALLS
        is_over = strike.heal is None
        return min(at_most, self._server.stats()["requests"]) if is_over else at_most

    def _is_created(self) -> bool:
        with suppress(DBAPIError):
            return bool(self._world.rows("SELECT id FROM run"))
        return False

    def _heal(self, until: float) -> None:
        for due in [due for due in self._healing if due[0] <= until]:
            _, strike, found = due
            self._healing.remove(due)
            if strike.heal is not None:
                strike.heal()
            found.healed = True

    def _look(self) -> None:
        """See whether anything was stored since the last time."""
        if self.seconds < self._look_at:
            return
        self._look_at = self.seconds + LOOK_EVERY_S
        self._still.look(self.seconds, self._explained_until)
        for fault in self.injected if self._still.has_changed else ():
            if fault.next_result_s is None:
                fault.next_result_s = self.seconds - fault.at_s

    def _attribute_repeats(self) -> None:
        repeated = self._server.stats()["repeated_questions"]
        if self.injected:
            self.injected[-1].repeated += repeated - self._repeated
        self._repeated = repeated


def _deal(dice: random.Random, kinds: Sequence[str], n_faults: int) -> list[str]:
    """Return so many kinds in any order, none a second time before all have come."""
    dealt: list[str] = []
    while len(dealt) < n_faults and kinds:
        dealt += dice.sample(kinds, len(kinds))
    return dealt[:n_faults]


_STATE = "SELECT stage, step, state, count(*), max(attempts) AS attempts, max(error) AS error FROM shard GROUP BY 1, 2, 3"  # noqa: E501
