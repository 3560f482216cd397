"""Faults of the endpoint: what it does to a few answers."""

import random

from tests.chaos.mischief import TIMEOUT_S
from tests.chaos.strike import Strike
from tests.chaos.world import World

LONGEST_S = 8.0  # for which it waits for answers to spoil


def _begin(world: World, dice: random.Random, how: str, most: int, delays_s: float = 0.0) -> Strike:
    mischief = world.mischief
    mischief.begin(how, dice.randint(1, most))
    return Strike("endpoint", 0, 0, mischief.end, LONGEST_S, delays_s=delays_s)


def endpoint_drips(world: World, dice: random.Random) -> Strike:
    return _begin(world, dice, "drip", 4, TIMEOUT_S)


def endpoint_never_ends(world: World, dice: random.Random) -> Strike:
    return _begin(world, dice, "never_end", 2, TIMEOUT_S)


def endpoint_too_late(world: World, dice: random.Random) -> Strike:
    return _begin(world, dice, "be_late", 4, TIMEOUT_S)


def endpoint_breaks_off(world: World, dice: random.Random) -> Strike:
    return _begin(world, dice, "break_off", 6)


def endpoint_lies(world: World, dice: random.Random) -> Strike:
    return _begin(world, dice, "lie", 8)
