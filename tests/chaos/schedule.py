"""A run that is disturbed by a seeded schedule of faults, and what has to be true after it."""

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from rehearsal.options import BatchOptions, RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.chaos import pooler, said
from tests.chaos.dataset import (
    Dataset,
    differences,
    holders,
    loose_ends,
    read_dataset,
    stored_answers,
)
from tests.chaos.disturbed import Disturbed
from tests.chaos.faults import usable
from tests.chaos.mischief import Mischief
from tests.chaos.outcome import Outcome
from tests.chaos.run_config import Variant, config_of, corpus_of
from tests.chaos.stand_still import longest_allowed_s
from tests.chaos.world import MAIN, ONE_DATABASE_AWAY, ROOT, World

LATENCY_MS = 250.0
BATCH_S = 1.5
DEADLINE_S = 400.0  # of a schedule: what makes progress may take long on a busy machine
SETTLES_S = 20.0  # in which the answers of other runs are stored, once the run is done
MOST_TAKEN = 48 << 20  # of an answer without an end: 32 MiB, and what is on the way
LEAVES_LEASES = "commit longer than a lease"  # of the other shards of the worker
ANSWERS_S = 30.0  # in which services answer again once a run is done
GIVES_BACK_S = 5.0  # in which a worker gives back what it held of a run that is done
_KEEPS_FROM_DATABASE = re.compile("database|postgres|pooler|commit|bulk|disk|spool")
SECOND = ((1,), 2, 2)  # layers, neurons of each, neurons of a shard, of a second run


@dataclass
class Stage:
    """A world, the server that is asked in it, and what an undisturbed run leaves."""

    world: World
    neurons: int
    deadline_s: float = DEADLINE_S
    shard: int = 4  # neurons of one
    port: int = 0
    undisturbed: dict[bool, Dataset] = field(default_factory=dict)  # by: has it every stage
    undisturbed_s: float = 0.0

    def rehearse(self) -> Outcome:
        """Run undisturbed, with and without every stage, to know what other runs must leave."""
        whole, plain = (self.rehearse_one(has_every_stage=which) for which in (True, False))
        self.undisturbed_s = plain.seconds
        return replace(plain, wrong=whole.wrong + plain.wrong)

    def rehearse_one(self, *, has_every_stage: bool) -> Outcome:
        """Run undisturbed in one of the two ways."""
        self.world.wait_for_workers()
        variant = Variant(has_every_stage, is_batched=False, is_pooled=False)
        outcome = self.run(-1, kinds=(), n_faults=0, variant=variant)
        self.undisturbed[has_every_stage] = read_dataset(self.world)
        return outcome

    def run(
        self, seed: int, kinds: Sequence[str], n_faults: int, variant: Variant | None = None
    ) -> Outcome:
        """Run once, with so many faults of these kinds on the way."""
        variant = variant or Variant.of_seed(seed)
        variant = replace(variant, is_pooled=variant.is_pooled and pooler.program() is not None)
        self._prepare(variant)
        world = self.world
        since = said.logs(world)
        batches = BatchOptions(seconds=BATCH_S)
        options = RehearsalOptions(port=self.port, latency_ms=LATENCY_MS, batches=batches)
        possible = usable(world)
        with RehearsalServer(options, [world.mischief.around]) as server:
            self.port = int(server.base_url.split(":")[2].split("/")[0])
            config = self._write_configs(server.base_url, variant)
            dealt = [kind for kind in kinds if kind in possible]
            most = variant.most_in_flight
            disturbed = Disturbed(world, server, seed, dealt, n_faults, self.deadline_s, most)
            disturbed.run(config)
            outcome = self._outcome(seed, variant, disturbed, server)
        outcome.wrong = disturbed.wrong + self._wrong(outcome, variant, since)
        return outcome

    def _prepare(self, variant: Variant) -> None:
        world = self.world
        for child in world.children.values():
            child.clock_offset = 0.0
        world.end_dispatchers()
        world.put_pooler(between=variant.is_pooled)
        world.complaints.clear()
        world.mischief = Mischief()
        world.forget_runs()

    def _write_configs(self, base_url: str, variant: Variant) -> Path:
        """Write the run, a second one on other neurons, and another one of the run's name."""
        folder = self.world.folder
        of_run = {"layers": (0, 3), "neurons": self.neurons, "shard": self.shard}
        layers, neurons, shard = SECOND
        of_second = {"layers": layers, "neurons": neurons, "shard": shard}
        common = (corpus_of(folder, 120), base_url, variant)
        run = config_of(World.RUN, *common, **of_run)
        (folder / "run.toml").write_text(run)
        (folder / "second.toml").write_text(config_of(World.SECOND, *common, **of_second))
        (folder / "other.toml").write_text(config_of(World.RUN, *common, **of_run, top=9))
        return folder / "run.toml"

    def _outcome(
        self, seed: int, variant: Variant, disturbed: Disturbed, server: RehearsalServer
    ) -> Outcome:
        world = self.world
        injected, spoilt = disturbed.injected, world.mischief.spoilt
        repeated = server.stats()["repeated_questions"]
        still = disturbed.stood_still_s
        seconds = disturbed.seconds
        outcome = Outcome(seed, str(variant), seconds, injected, repeated, 0, spoilt, still)
        deadline = time.monotonic() + SETTLES_S
        while True:
            with suppress(DBAPIError):
                outcome.lost = server.stats()["answered"] - stored_answers(world)
            if outcome.lost <= outcome.may_lose or time.monotonic() > deadline:
                return outcome
            time.sleep(0.5)

    def _wrong(self, outcome: Outcome, variant: Variant, since: dict[str, int]) -> list[str]:
        world = self.world
        spool_was_full = any(fault.kind == "spool full" for fault in outcome.injected)
        wrong = list(world.complaints)
        wrong += said.faults_of_our_own(world, since, spool_was_full=spool_was_full)
        if outcome.repeated > outcome.may_repeat:
            wrong.append(f"{outcome.repeated} calls were repeated, {outcome.may_repeat} may be")
        if outcome.lost > outcome.may_lose:
            wrong.append(f"{outcome.lost} paid answers are lost, {outcome.may_lose} may be")
        allowed_s = longest_allowed_s(world.lease_s, is_batched=variant.is_batched)
        if outcome.stood_still_s > allowed_s:
            wrong.append(f"the run stood still for {outcome.stood_still_s:.1f} s")
        kinds = {fault.kind for fault in outcome.injected}
        if kinds == {LEAVES_LEASES} and (lapsed := said.lapses(world, since)):
            wrong.append(f"{lapsed} leases ended beside a commit of the same worker")
        if (taken := world.mischief.most_taken) > MOST_TAKEN:
            wrong.append(f"{taken:,} bytes of an answer without an end were taken")
        if not any(_KEEPS_FROM_DATABASE.search(kind) for kind in kinds):
            wrong += self._kept_holds()
        with suppress(DBAPIError):
            if undisturbed := self.undisturbed.get(variant.has_every_stage):
                wrong += differences(read_dataset(world), undisturbed, world.mischief.lies)
            wrong += loose_ends(world)
        return wrong + verified(world)

    def _kept_holds(self) -> list[str]:
        """Return the processes that live and have not given back what they held of the budget.

        What a process held that died, or could not reach Postgres, expires.
        """
        alive = {str(c.process.pid) for c in self.world.children.values() if c.process}
        deadline = time.monotonic() + GIVES_BACK_S
        while True:
            kept = [holder for holder in holders(self.world) if holder.split(":")[1] in alive]
            if not kept or time.monotonic() > deadline:
                return [f"{holder} holds a part of the budget" for holder in kept]
            time.sleep(0.2)


def verified(world: World) -> list[str]:
    """Return what `neurogloss verify` finds wrong.

    A fault may have ended with the run, and what it struck may not answer yet.
    """
    deadline = time.monotonic() + ANSWERS_S
    while ONE_DATABASE_AWAY in (done := _verify(world)).stderr and time.monotonic() < deadline:
        time.sleep(0.5)
    return [] if done.returncode == 0 else [f"verify: {done.stdout[-1500:]}{done.stderr[-500:]}"]


def _verify(world: World) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "orchestrator", "verify", World.RUN],
        env=world.environment(world.children[MAIN]),
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
