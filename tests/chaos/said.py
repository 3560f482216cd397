"""What workers and dispatchers said that no outage explains."""

import re

from tests.chaos.world import WORKERS, World

_FAILED = re.compile(r"shard failed .*(?:\n  .*)*|raised unexpected: .*")
_NOT_STORED = re.compile(r"paid answers not stored .*(?:\n  .*)*")
_TRACEBACK = re.compile(r"Traceback \(most recent call last\)[\s\S]*\n\S+.*")


def logs(world: World) -> dict[str, int]:
    """Return where the log of each worker stands now; those of others begin with each run."""
    return {name: world.children[name].log.stat().st_size for name in WORKERS}


def faults_of_our_own(world: World, since: dict[str, int], *, spool_was_full: bool) -> list[str]:
    """Return what was said since then that tells of a fault of ours."""
    found = []
    for child in world.children.values():
        said = child.log.read_bytes()[since.get(child.name, 0) :].decode(errors="replace")
        patterns = [_FAILED] if child.name in WORKERS else [_TRACEBACK]
        patterns += [] if spool_was_full else [_NOT_STORED]
        for pattern in patterns:
            found += [f"{child.name}: {match[0][:800]}" for match in pattern.finditer(said)]
    return found


def lapses(world: World, since: dict[str, int]) -> int:
    """Return how many shards workers gave up since then because their lease had ended."""
    said = [world.children[name].log.read_bytes()[since[name] :] for name in WORKERS]
    return sum(words.count(b"lease lost") + words.count(b"or lost its lease") for words in said)
