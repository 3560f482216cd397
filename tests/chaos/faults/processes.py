"""Faults of workers and dispatchers."""

import random
import signal
from collections.abc import Callable
from pathlib import Path

from tests.chaos.child import Child
from tests.chaos.small_disk import fill
from tests.chaos.strike import Strike
from tests.chaos.world import WORKERS, World

API_WORKERS = [name for name, kind in WORKERS.items() if kind == "api"]
COMMITTING = b"UPDATE shard SET state = 'done'"
# After these, a worker holds what it has not used yet.
BETWEEN = (
    b"UPDATE shard SET state = 'leased'",
    b"FROM batch_request",
    b"INSERT INTO batch_wait",
    b"INSERT INTO batch (",
    b"UPDATE batch SET state",
    b"FROM call WHERE identity",
)
KILLED_AFTER_S = 20.0  # what containers give a process that is told to stop
CLOCKS_S = (-30 * 86_400.0, -7_200.0, 600.0, 86_400.0)


def a_worker(world: World, dice: random.Random) -> Child:
    """Return any worker."""
    return world.children[dice.choice(list(WORKERS))]


def at_risk(child: Child) -> int:
    """Return 1 for a worker that makes calls."""
    return int(child.name in API_WORKERS)


def _a_dispatcher(world: World, dice: random.Random) -> Child:
    return dice.choice(world.dispatchers() or [world.children["dispatcher"]])


def _kill(child: Child) -> Strike:
    child.signal(signal.SIGKILL)
    return Strike(child.name, at_risk(child), at_risk(child))


def _freeze(child: Child, seconds: float) -> Strike:
    child.signal(signal.SIGSTOP)
    stopped = child.process

    def go_on() -> None:
        if child.process is stopped:
            child.signal(signal.SIGCONT)

    return Strike(child.name, at_risk(child), 0, go_on, seconds)


def worker_killed(world: World, dice: random.Random) -> Strike:
    return _kill(a_worker(world, dice))


def worker_told_to_stop(world: World, dice: random.Random) -> Strike:
    """Send SIGTERM, and SIGKILL to what is there still after as long as containers get."""
    child = a_worker(world, dice)
    child.signal(signal.SIGTERM)
    asked = child.process

    def kill() -> None:
        if asked is not None and asked.poll() is None:
            asked.kill()

    return Strike(child.name, at_risk(child), at_risk(child), kill, 10.0)


def worker_told_to_stop_without_database(world: World, dice: random.Random) -> Strike:
    """Send SIGTERM to a worker that cannot store what it has in flight: it keeps that on disk."""
    return _stop_cut_off(world, world.children[dice.choice(API_WORKERS)], loses=0)


def spool_full(world: World, dice: random.Random) -> Strike:
    """Send SIGTERM to a worker that can store what it has in flight neither there nor on disk."""
    ballast = fill(world.spool)
    child = world.children[dice.choice(API_WORKERS)]
    return _stop_cut_off(world, child, loses=1, heal=lambda: ballast.unlink(missing_ok=True))


def _stop_cut_off(
    world: World, child: Child, *, loses: int, heal: Callable[[], object] = lambda: None
) -> Strike:
    world.wait_for_calls_in_flight()
    child.links[0].cut()
    child.signal(signal.SIGTERM)

    def mend() -> None:
        child.links[0].heal()
        heal()

    return Strike(child.name, 1, loses, mend, KILLED_AFTER_S)


def worker_stopped(world: World, dice: random.Random) -> Strike:
    """Stop a worker for longer than its lease, or for less."""
    return _freeze(a_worker(world, dice), dice.uniform(0.5, 2.0) * world.lease_s)


def worker_stopped_in_calls(world: World, dice: random.Random) -> Strike:
    """Stop a worker that makes calls for longer than its lease, once some are in flight."""
    world.wait_for_calls_in_flight()
    child = world.children[dice.choice(API_WORKERS)]
    return _freeze(child, dice.uniform(1.2, 2.0) * world.lease_s)


def worker_stopped_while_committing(world: World, dice: random.Random) -> Strike:
    """Stop a worker inside the transaction that commits a shard, with what it has locked.

    For longer than the run may stand still, and longer than answers are waited for.
    """
    return _stop_after(world, a_worker(world, dice), COMMITTING, dice.uniform(10.0, 30.0), loses=1)


def worker_stopped_at_a_statement(world: World, dice: random.Random) -> Strike:
    """Stop a worker for longer than its lease, between what it has read and what it does then."""
    seconds = dice.uniform(1.2, 3.0) * world.lease_s
    return _stop_after(world, a_worker(world, dice), dice.choice(BETWEEN), seconds, loses=0)


def _stop_after(world: World, child: Child, word: bytes, seconds: float, *, loses: int) -> Strike:
    child.links[0].after(word, lambda: child.signal(signal.SIGSTOP))

    def go_on() -> None:
        child.links[0].heal()
        child.signal(signal.SIGCONT)

    risk = at_risk(child)
    return Strike(child.name, risk, min(risk, loses), go_on, seconds)


def slow_commit(world: World, dice: random.Random) -> Strike:
    """Let the next commit of a shard take longer than a lease; the rest of the worker goes on."""
    child = world.children[dice.choice(API_WORKERS)]
    child.links[0].hold(COMMITTING, dice.uniform(1.2, 2.0) * world.lease_s)
    return Strike(child.name)


def worker_with_a_wrong_clock(world: World, dice: random.Random) -> Strike:
    child = a_worker(world, dice)
    child.clock_offset = dice.choice(CLOCKS_S)
    _kill(child)
    return Strike(f"{child.name} by {child.clock_offset:+.0f} s", at_risk(child), at_risk(child))


def dispatcher_killed(world: World, dice: random.Random) -> Strike:
    return _kill(_a_dispatcher(world, dice))


def dispatcher_interrupted(world: World, dice: random.Random) -> Strike:
    child = _a_dispatcher(world, dice)
    child.signal(dice.choice((signal.SIGTERM, signal.SIGINT)))
    return Strike(child.name)


def dispatcher_stopped(world: World, dice: random.Random) -> Strike:
    return _freeze(_a_dispatcher(world, dice), dice.uniform(0.5, 2.0) * world.lease_s)


def second_dispatcher(world: World, dice: random.Random) -> Strike:
    world.begin_run(Path(world.children["dispatcher"].command[-1]), "dispatcher-2")
    return Strike("dispatcher-2")
