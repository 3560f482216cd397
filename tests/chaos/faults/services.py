"""Faults of Postgres, Redis and the pooler."""

import os
import random
import signal
from contextlib import suppress

from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from tests.chaos.faults.processes import API_WORKERS
from tests.chaos.small_disk import fill
from tests.chaos.strike import Strike
from tests.chaos.world import World

JUMPS_S = (5.0, 60.0, 3600.0)


def _pid(world: World, service: str) -> int:
    return int((world.folder / "home" / service / "server.pid").read_text())


def _down(world: World, service: str, number: signal.Signals) -> None:
    world.held_down.add(service)
    with suppress(ProcessLookupError, FileNotFoundError, ValueError):
        os.kill(_pid(world, service), number)


def _up(world: World, service: str) -> None:
    world.held_down.discard(service)


def redis_killed(world: World, dice: random.Random) -> Strike:
    _down(world, "redis", signal.SIGKILL)
    return Strike("redis", 0, 0, lambda: _up(world, "redis"), dice.uniform(0, 3))


def redis_flushed(world: World, dice: random.Random) -> Strike:
    with suppress(RedisError), world.redis() as client:
        client.flushall()
    return Strike("redis")


def redis_restarted_empty(world: World, dice: random.Random) -> Strike:
    _down(world, "redis", signal.SIGKILL)

    def lose_the_disk() -> None:
        (world.folder / "home" / "redis" / "appendonly.aof").unlink(missing_ok=True)
        _up(world, "redis")

    return Strike("redis", 0, 0, lose_the_disk, dice.uniform(0, 3))


def redis_full(world: World, dice: random.Random) -> Strike:
    """Leave Redis no memory for anything new; it evicts nothing, and refuses to write."""

    def limit(n_bytes: int) -> None:
        with suppress(RedisError), world.redis() as client:
            client.config_set("maxmemory", n_bytes)

    limit(1)
    heal = lambda: limit(0)  # noqa: E731
    return Strike("redis", 0, 0, heal, dice.uniform(1, 6), stops_all=True)


def postgres_restarted(world: World, dice: random.Random) -> Strike:
    _down(world, "postgres", signal.SIGQUIT)  # "immediate": it recovers from its log
    heal = lambda: _up(world, "postgres")  # noqa: E731
    return Strike("postgres", len(API_WORKERS), 0, heal, dice.uniform(0, 3))


def postgres_away(world: World, dice: random.Random) -> Strike:
    """Let Postgres be gone for longer than a lease."""
    _down(world, "postgres", signal.SIGQUIT)
    heal = lambda: _up(world, "postgres")  # noqa: E731
    return Strike("postgres", len(API_WORKERS), 0, heal, dice.uniform(1.2, 2.5) * world.lease_s)


def connections_cut(world: World, dice: random.Random) -> Strike:
    with suppress(DBAPIError):
        world.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
    return Strike("postgres", len(API_WORKERS))


def pooler_killed(world: World, dice: random.Random) -> Strike:
    world.held_down.add("pooler")
    world.pooler.kill()
    heal = lambda: _up(world, "pooler")  # noqa: E731
    return Strike("pooler", len(API_WORKERS), 0, heal, dice.uniform(0, 3))


def clock_jumps_forward(world: World, dice: random.Random) -> Strike:
    """Set the database's clock forward: all leases seem to have run out."""
    seconds = dice.choice(JUMPS_S)
    world.clock.jump(seconds)
    return Strike(f"postgres by {seconds:+.0f} s", len(API_WORKERS))


def clock_jumps_back(world: World, dice: random.Random) -> Strike:
    """Set the database's clock back: leases of the dead last so much longer."""
    seconds = dice.uniform(0.5, 2.0) * world.lease_s
    world.clock.jump(-seconds)
    return Strike(f"postgres by {-seconds:+.0f} s", len(API_WORKERS), delays_s=seconds)


def disk_full(world: World, dice: random.Random) -> Strike:
    """Fill the database's disk. The server may die of it, and comes back when there is room."""
    world.held_down.add("postgres")
    ballast = fill(world.folder / "home" / "postgres")

    def empty() -> None:
        ballast.unlink(missing_ok=True)
        _up(world, "postgres")

    return Strike("postgres", len(API_WORKERS), 0, empty, dice.uniform(1, 4))
