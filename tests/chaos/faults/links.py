"""Faults of the network between a process and its services."""

import random

from tests.chaos.faults.processes import a_worker, at_risk
from tests.chaos.strike import Strike
from tests.chaos.world import World

POSTGRES, REDIS = 0, 1


def _cut(world: World, dice: random.Random, link: int, *, frozen: bool) -> Strike:
    child = dice.choice(list(world.children.values()))
    (child.links[link].freeze if frozen else child.links[link].cut)()
    service = ("postgres", "redis")[link]
    seconds = dice.uniform(0.2, 1.5) * world.lease_s
    return Strike(f"{child.name} to {service}", at_risk(child), 0, child.links[link].heal, seconds)


def database_link_cut(world: World, dice: random.Random) -> Strike:
    return _cut(world, dice, POSTGRES, frozen=False)


def database_link_frozen(world: World, dice: random.Random) -> Strike:
    return _cut(world, dice, POSTGRES, frozen=True)


def redis_link_cut(world: World, dice: random.Random) -> Strike:
    return _cut(world, dice, REDIS, frozen=False)


def redis_link_frozen(world: World, dice: random.Random) -> Strike:
    return _cut(world, dice, REDIS, frozen=True)


def database_replies_lost(world: World, dice: random.Random) -> Strike:
    """Let what is asked arrive, commits too, and lose the answers with their connections."""
    child = dice.choice(list(world.children.values()))
    link = child.links[POSTGRES]
    link.mute()

    def break_off() -> None:
        link.cut()
        link.heal()

    to = f"{child.name} from postgres"
    return Strike(to, at_risk(child), 0, break_off, dice.uniform(0.1, 1))


def _break_off(world: World, dice: random.Random, word: bytes) -> Strike:
    child = a_worker(world, dice)
    link = child.links[POSTGRES]
    link.break_off(word, dice.randint(1, 4))
    return Strike(child.name, at_risk(child), 0, link.heal, 6.0)


def commit_in_doubt(world: World, dice: random.Random) -> Strike:
    """Lose the next answers to COMMIT, and their connections: nobody knows whether it was done."""
    return _break_off(world, dice, b"COMMIT")


def bulk_write_broken_off(world: World, dice: random.Random) -> Strike:
    return _break_off(world, dice, b"COPY ")
