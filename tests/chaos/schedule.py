"""A run that is disturbed by a seeded schedule of faults, and what has to be true after it."""

import random
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.chaos.dataset import Dataset, differences, loose_ends, read_dataset
from tests.chaos.faults import KINDS, NEEDS_A_SMALL_DISK, Strike
from tests.chaos.world import ROOT, World, corpus_of

MOST_IN_FLIGHT = 6
LATENCY_MS = 250.0
PROBE_CALLS = 2  # of explainer and simulator, before a run is created
ENDS_DISPATCHERS = ("dispatcher", "postgres", "redis")  # or may, if it is struck
TEND_EVERY_S = 0.2
DEADLINE_S = 180.0  # of a schedule: ten times what it takes undisturbed
CONFIG = """
name = "chaos"
[corpus]
source = "{corpus}"
excerpts = 200
[records]
top = 8
random = 6
[scoring]
top = 2
random = 2
{scoring}
[neurons]
layers = [0, 3]
per_layer = {neurons}
[shards]
excerpts = 64
neurons = {shard}
[explainer]
endpoint = "here"
model = "rehearsal"
{explainer}
[simulator]
kind = "json"
endpoint = "here"
model = "rehearsal"
[endpoints.here]
base_url = "{base_url}"
max_in_flight = {in_flight}
[endpoints.here.prices.rehearsal]
input = 0.15
output = 0.6
{more}
"""
EVERY_STAGE = {  # what odd seeds add
    "scoring": 'calibration = ["linear", "percentile"]',
    "explainer": "candidates = 2\nrevise = true\nsentences = 4",
    "more": "[ablation]\nper_layer = 2",
}


@dataclass
class Injected:
    """One fault of a schedule, and what came of it."""

    kind: str
    strike: Strike
    at_s: float
    may_repeat: int  # calls: those that were in flight in the workers that it struck
    healed: bool = False
    next_result_s: float | None = None  # from the strike to the next result that was stored
    repeated: int = 0  # calls, up to the next fault


@dataclass
class Outcome:
    """A schedule that has ended."""

    seed: int
    seconds: float
    injected: list[Injected]
    repeated: int
    wrong: list[str] = field(default_factory=list)

    @property
    def bound(self) -> int:
        """How many calls may be repeated."""
        return sum(fault.may_repeat for fault in self.injected)


@dataclass
class Stage:
    """A world, the server that is asked in it, and what an undisturbed run leaves."""

    world: World
    neurons: int
    deadline_s: float = DEADLINE_S
    shard: int = 4  # neurons of one
    port: int = 0
    undisturbed: dict[bool, Dataset] = field(default_factory=dict)  # of even seeds, and of odd
    undisturbed_s: float = 0.0

    def rehearse(self) -> Outcome:
        """Run undisturbed, with and without every stage, to know what other runs must leave."""
        self.world.wait_for_workers()
        outcomes = []
        for seed in (-1, -2):
            outcomes.append(self.run(seed, kinds=(), n_faults=0))
            self.undisturbed[seed % 2 == 1] = read_dataset(self.world)
        odd, even = outcomes
        self.undisturbed_s = even.seconds
        return replace(even, wrong=odd.wrong + even.wrong)

    def run(self, seed: int, kinds: Sequence[str], n_faults: int) -> Outcome:
        """Run once, with so many faults of these kinds on the way."""
        world = self.world
        for child in world.children.values():
            child.clock_offset = 0.0
        world.end_dispatchers()
        world.complaints.clear()
        world.forget_runs()
        since = {k: v for k, v in world.logs().items() if k in ("gpu-1", "api-1", "api-2")}
        options = RehearsalOptions(port=self.port, latency_ms=LATENCY_MS)
        with RehearsalServer(options) as server:
            self.port = int(server.base_url.split(":")[2].split("/")[0])
            disturbed = Disturbed(self, server, seed, self._usable(kinds), n_faults)
            disturbed.run(self._config(server.base_url, seed))
        outcome = Outcome(
            seed, disturbed.seconds, disturbed.injected, server.stats()["repeated_questions"]
        )
        outcome.wrong = disturbed.wrong + self._wrong(outcome, since)
        return outcome

    def _usable(self, kinds: Sequence[str]) -> list[str]:
        return [k for k in kinds if k != NEEDS_A_SMALL_DISK or self.world.has_small_disk]

    def _config(self, base_url: str, seed: int) -> Path:
        path = self.world.folder / "run.toml"
        corpus = corpus_of(self.world.folder, 120)
        path.write_text(
            CONFIG.format(
                corpus=corpus,
                base_url=base_url,
                in_flight=MOST_IN_FLIGHT,
                neurons=self.neurons,
                shard=self.shard,
                **(EVERY_STAGE if seed % 2 else dict.fromkeys(EVERY_STAGE, "")),
            )
        )
        return path

    def _wrong(self, outcome: Outcome, since: dict[str, int]) -> list[str]:
        world = self.world
        wrong = list(world.complaints) + world.faults_of_our_own(since)
        if outcome.repeated > outcome.bound:
            wrong.append(f"{outcome.repeated} calls were repeated, {outcome.bound} may be")
        with suppress(DBAPIError):
            if undisturbed := self.undisturbed.get(outcome.seed % 2 == 1):
                wrong += differences(read_dataset(world), undisturbed)
            wrong += loose_ends(world)
        return wrong + verified(world)


def verified(world: World) -> list[str]:
    """Return what `neurogloss verify` finds wrong."""
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "verify", "chaos"],
        env=world.environment(world.children["dispatcher"]),
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    return [] if done.returncode == 0 else [f"verify: {done.stdout[-1500:]}{done.stderr[-500:]}"]


class Disturbed:
    """One run with its faults, from the first dispatcher to the end."""

    def __init__(
        self, stage: Stage, server: RehearsalServer, seed: int, kinds: list[str], n_faults: int
    ) -> None:
        self._world, self._server, self._deadline_s = stage.world, server, stage.deadline_s
        self._dice = random.Random(seed)
        self._left = [self._dice.choice(kinds) for _ in range(n_faults)]
        self._next_at = self._dice.uniform(1.0, 4.0)
        self._healing: list[tuple[float, Injected]] = []
        self._stored = 0
        self._repeated = 0
        self.injected: list[Injected] = []
        self.wrong: list[str] = []
        self.seconds = 0.0

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
        dispatcher = self._world.children["dispatcher"]
        return dispatcher.is_done and not self._healing

    def _state(self) -> str:
        with suppress(DBAPIError):
            return str(self._world.rows(_STATE))
        return "the database is away"

    def _strike(self) -> None:
        self._attribute_repeats()
        kind = self._left.pop(0)
        strike = KINDS[kind](self._world, self._dice)
        found = Injected(kind, strike, self.seconds, self._in_flight(strike))
        self.injected.append(found)
        self._healing.append((self.seconds + strike.after_s, found))
        self._next_at = self.seconds + self._dice.uniform(0.3, 3.0)

    def _in_flight(self, strike: Strike) -> int:
        """Return how many calls a fault may have taken the answers of, at most.

        Before there is a run, a dispatcher that ends takes the answers of the probe with it: nobody
        can store them yet.
        """
        at_most = MOST_IN_FLIGHT * strike.api_workers
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
            _, found = due
            self._healing.remove(due)
            if found.strike.heal is not None:
                found.strike.heal()
            found.healed = True

    def _look(self) -> None:
        """See whether results were stored since the last time."""
        try:
            (row,) = self._world.rows(_STORED)
        except DBAPIError:
            return
        if row["n"] > self._stored:
            self._stored = row["n"]
            for fault in self.injected:
                if fault.next_result_s is None:
                    fault.next_result_s = self.seconds - fault.at_s

    def _attribute_repeats(self) -> None:
        repeated = self._server.stats()["repeated_questions"]
        if self.injected:
            self.injected[-1].repeated += repeated - self._repeated
        self._repeated = repeated


_STORED = """
    SELECT (SELECT count(*) FROM call) + (SELECT count(*) FROM shard WHERE state = 'done')
         + (SELECT count(*) FROM run WHERE state = 'done') AS n
"""
_STATE = "SELECT stage, step, state, count(*), max(attempts) AS attempts, max(error) AS error FROM shard GROUP BY 1, 2, 3"  # noqa: E501
