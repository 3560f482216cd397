"""Commands that somebody enters at a bad moment."""

import random
import subprocess

from tests.chaos.strike import PROBE_CALLS, Strike
from tests.chaos.world import World

LIMITS = (
    "endpoints.here.max_in_flight=3",
    "endpoints.here.max_in_flight=6",
    "endpoints.here.requests_per_minute=3000",
    "endpoints.here.requests_per_minute=none",
    "endpoints.here.prices.rehearsal.input=0.3",
    "budget.usd=1000000000",
    "budget.usd=none",
)


def limits_set(world: World, dice: random.Random) -> Strike:
    """Change limits, prices or the budget, to what does not end the run."""
    some = dice.sample(LIMITS, 2)
    world.operator.enter("set", world.RUN, *some)
    return Strike("set " + " ".join(some))


def retry(world: World, dice: random.Random) -> Strike:
    world.operator.enter("retry", world.RUN)
    return Strike("retry")


def paused_and_resumed(world: World, dice: random.Random) -> Strike:
    """Pause the run for a while, in which its dispatchers end."""
    pausing = world.operator.pause(world.RUN)
    return Strike(
        "run", 0, 0, lambda: _resume(world, pausing), dice.uniform(4.0, 8.0), stops_all=True
    )


def _resume(world: World, pausing: subprocess.Popen[bytes]) -> None:
    created = world.operator.resume(pausing)
    if created > 1:  # one may have been on its way
        world.complaints.append(f"{created} batches were created while the run was paused")


def second_run_cancelled(world: World, dice: random.Random) -> Strike:
    """Begin a second run on other neurons, with a dispatcher of its own, and cancel it later."""
    world.begin_run(world.folder / "second.toml", f"{world.SECOND} dispatcher")
    cancel = lambda: world.operator.enter("cancel", world.SECOND)  # noqa: E731
    after_s = dice.uniform(3.0, 9.0)
    # The probe of a new run is never answered from the ledger: it sees whether the server is there.
    return Strike(
        "dispatcher of a second run", asks_again=PROBE_CALLS, heal=cancel, after_s=after_s
    )


def other_configuration(world: World, dice: random.Random) -> Strike:
    """Begin the run again with another configuration under its name, which is refused."""
    world.operator.enter("run", str(world.folder / "other.toml"))
    return Strike("run with another configuration")
