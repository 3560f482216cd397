"""The kinds of faults, each of which strikes the world once and may heal a while later."""

import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from celery.exceptions import CeleryError
from kombu import Connection
from kombu.exceptions import KombuError
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from tests.chaos.world import LEASE_S, WORKERS, Child, World
from worker import signatures

API_WORKERS = [name for name, kind in WORKERS.items() if kind == "api"]
COMMITTING = b"UPDATE shard SET state = 'done'"
CLOCKS_S = (-30 * 86_400.0, -7_200.0, 600.0, 86_400.0)


@dataclass(frozen=True)
class Strike:
    """What a fault did.

    Attributes:
        to: What it struck.
        api_workers: How many workers may have lost the answers to what they had in flight.
        heal: Ends the fault; None where it was over at once.
        after_s: When to heal.
    """

    to: str
    api_workers: int = 0
    heal: Callable[[], None] | None = None
    after_s: float = 0.0


def _a_worker(world: World, dice: random.Random) -> Child:
    return world.children[dice.choice(list(WORKERS))]


def _a_dispatcher(world: World, dice: random.Random) -> Child:
    return dice.choice(world.dispatchers() or [world.children["dispatcher"]])


def _at_risk(child: Child) -> int:
    return int(child.name in API_WORKERS)


def _kill(child: Child) -> Strike:
    child.signal(signal.SIGKILL)
    return Strike(child.name, _at_risk(child))


def _ask_to_stop(child: Child) -> Strike:
    """Send SIGTERM, and SIGKILL to what is there still after as long as containers get."""
    child.signal(signal.SIGTERM)
    asked = child.process

    def kill() -> None:
        if asked is not None and asked.poll() is None:
            asked.kill()

    return Strike(child.name, _at_risk(child), kill, 10.0)


def _freeze(child: Child, dice: random.Random) -> Strike:
    """Stop a process for longer than its lease, or for less."""
    child.signal(signal.SIGSTOP)
    stopped = child.process

    def go_on() -> None:
        if stopped is not None and stopped.poll() is None:
            stopped.send_signal(signal.SIGCONT)

    return Strike(child.name, _at_risk(child), go_on, dice.uniform(0.5, 2.0) * LEASE_S)


def _worker_killed(world: World, dice: random.Random) -> Strike:
    return _kill(_a_worker(world, dice))


def _worker_told_to_stop(world: World, dice: random.Random) -> Strike:
    return _ask_to_stop(_a_worker(world, dice))


def _worker_stopped(world: World, dice: random.Random) -> Strike:
    return _freeze(_a_worker(world, dice), dice)


def _worker_stopped_while_committing(world: World, dice: random.Random) -> Strike:
    """Stop a worker inside the transaction that commits a shard, with what it has locked."""
    child = _a_worker(world, dice)
    child.links[0].after(COMMITTING, lambda: child.signal(signal.SIGSTOP))
    go_on = lambda: (child.links[0].heal(), child.signal(signal.SIGCONT))  # noqa: E731
    return Strike(child.name, _at_risk(child), go_on, dice.uniform(1.0, 4.0) * LEASE_S)


def _dispatcher_killed(world: World, dice: random.Random) -> Strike:
    return _kill(_a_dispatcher(world, dice))


def _dispatcher_interrupted(world: World, dice: random.Random) -> Strike:
    child = _a_dispatcher(world, dice)
    child.signal(dice.choice((signal.SIGTERM, signal.SIGINT)))
    return Strike(child.name)


def _dispatcher_stopped(world: World, dice: random.Random) -> Strike:
    return _freeze(_a_dispatcher(world, dice), dice)


def _second_dispatcher(world: World, dice: random.Random) -> Strike:
    world.begin_run(Path(world.children["dispatcher"].command[-1]), "dispatcher-2")
    return Strike("dispatcher-2")


def _worker_with_a_wrong_clock(world: World, dice: random.Random) -> Strike:
    child = _a_worker(world, dice)
    child.clock_offset = dice.choice(CLOCKS_S)
    strike = _kill(child)
    return Strike(f"{child.name} by {child.clock_offset:+.0f} s", strike.api_workers)


def _pid(world: World, service: str) -> int:
    return int((world.folder / "home" / service / "server.pid").read_text())


def _down(world: World, service: str, number: signal.Signals) -> None:
    world.held_down.add(service)
    with suppress(ProcessLookupError, FileNotFoundError, ValueError):
        os.kill(_pid(world, service), number)


def _redis_killed(world: World, dice: random.Random) -> Strike:
    _down(world, "redis", signal.SIGKILL)
    return Strike("redis", 0, lambda: world.held_down.discard("redis"), dice.uniform(0, 3))


def _redis_flushed(world: World, dice: random.Random) -> Strike:
    with suppress(RedisError), world.redis() as client:
        client.flushall()
    return Strike("redis")


def _redis_restarted_empty(world: World, dice: random.Random) -> Strike:
    _down(world, "redis", signal.SIGKILL)

    def lose_the_disk() -> None:
        (world.folder / "home" / "redis" / "appendonly.aof").unlink(missing_ok=True)
        world.held_down.discard("redis")

    return Strike("redis", 0, lose_the_disk, dice.uniform(0, 3))


def _postgres_restarted(world: World, dice: random.Random) -> Strike:
    _down(world, "postgres", signal.SIGQUIT)  # "immediate": it recovers from its log
    heal = lambda: world.held_down.discard("postgres")  # noqa: E731
    return Strike("postgres", len(API_WORKERS), heal, dice.uniform(0, 3))


def _connections_cut(world: World, dice: random.Random) -> Strike:
    with suppress(DBAPIError):
        world.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
    return Strike("postgres", len(API_WORKERS))


def _cut(world: World, dice: random.Random, link: int, *, frozen: bool) -> Strike:
    child = dice.choice(list(world.children.values()))
    (child.links[link].freeze if frozen else child.links[link].cut)()
    service = ("postgres", "redis")[link]
    seconds = dice.uniform(0.2, 1.5) * LEASE_S
    return Strike(f"{child.name} to {service}", _at_risk(child), child.links[link].heal, seconds)


def _database_link_cut(world: World, dice: random.Random) -> Strike:
    return _cut(world, dice, 0, frozen=False)


def _database_link_frozen(world: World, dice: random.Random) -> Strike:
    return _cut(world, dice, 0, frozen=True)


def _database_replies_lost(world: World, dice: random.Random) -> Strike:
    """Let what is asked arrive, commits too, and lose the answers with their connections."""
    child = dice.choice(list(world.children.values()))
    link = child.links[0]
    link.mute()

    def break_off() -> None:
        link.cut()
        link.heal()

    return Strike(f"{child.name} from postgres", _at_risk(child), break_off, dice.uniform(0.1, 1))


def _break_off(world: World, dice: random.Random, word: bytes) -> Strike:
    child = world.children[dice.choice(list(WORKERS))]
    link = child.links[0]
    link.break_off(word, dice.randint(1, 4))
    return Strike(child.name, _at_risk(child), link.heal, 6.0)


def _commit_in_doubt(world: World, dice: random.Random) -> Strike:
    """Lose the next answers to COMMIT, and their connections: nobody knows whether it was done."""
    return _break_off(world, dice, b"COMMIT")


def _bulk_write_broken_off(world: World, dice: random.Random) -> Strike:
    return _break_off(world, dice, b"COPY ")


def _redis_link_cut(world: World, dice: random.Random) -> Strike:
    return _cut(world, dice, 1, frozen=False)


def _redis_link_frozen(world: World, dice: random.Random) -> Strike:
    return _cut(world, dice, 1, frozen=True)


def _disk_full(world: World, dice: random.Random) -> Strike:
    """Fill the database's disk. The server may die of it, and comes back when there is room."""
    ballast = world.folder / "home" / "postgres" / "ballast"
    world.held_down.add("postgres")
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(1 << 20))
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(1 << 12))

    def empty() -> None:
        ballast.unlink(missing_ok=True)
        world.held_down.discard("postgres")

    return Strike("postgres", len(API_WORKERS), empty, dice.uniform(1, 4))


def _messages_doubled(world: World, dice: random.Random) -> Strike:
    """Double what is queued, and send anew what was done long ago or is being done."""
    with suppress(RedisError), world.redis() as client:
        for queue in ("gpu", "api"):
            for message in client.lrange(queue, 0, -1):
                client.rpush(queue, message)
    with suppress(DBAPIError, RedisError, KombuError, CeleryError, OSError):
        shards = world.rows("SELECT id, stage FROM shard ORDER BY id")
        some = dice.sample(shards, min(12, len(shards)))
        with Connection(world.urls.redis_url) as connection:
            for shard in some:
                message = signatures.of_stage(shard["stage"], shard["id"])
                message.apply_async(connection=connection, retry=False)
    return Strike("messages")


def _messages_reordered(world: World, dice: random.Random) -> Strike:
    with suppress(RedisError), world.redis() as client:
        for queue in ("gpu", "api"):
            with client.pipeline() as pipe:
                pipe.lrange(queue, 0, -1).delete(queue)
                messages, _ = pipe.execute()
            dice.shuffle(messages)
            if messages:
                client.rpush(queue, *messages)
    return Strike("messages")


KINDS: dict[str, Callable[[World, random.Random], Strike]] = {
    "worker killed": _worker_killed,
    "worker told to stop": _worker_told_to_stop,
    "worker stopped and continued": _worker_stopped,
    "worker with a wrong clock": _worker_with_a_wrong_clock,
    "dispatcher killed": _dispatcher_killed,
    "dispatcher interrupted": _dispatcher_interrupted,
    "dispatcher stopped and continued": _dispatcher_stopped,
    "second dispatcher": _second_dispatcher,
    "redis killed": _redis_killed,
    "redis flushed": _redis_flushed,
    "redis restarted empty": _redis_restarted_empty,
    "postgres restarted": _postgres_restarted,
    "database connections cut": _connections_cut,
    "database link cut": _database_link_cut,
    "database link frozen": _database_link_frozen,
    "database replies lost": _database_replies_lost,
    "commit in doubt": _commit_in_doubt,
    "bulk write broken off": _bulk_write_broken_off,
    "redis link cut": _redis_link_cut,
    "redis link frozen": _redis_link_frozen,
    "disk full": _disk_full,
    "messages doubled": _messages_doubled,
    "messages reordered": _messages_reordered,
    "worker stopped while committing": _worker_stopped_while_committing,
}
NEEDS_A_SMALL_DISK = "disk full"
