"""Tiles: groups of excerpts that go through the subject model together.

Floating-point results may depend on the shape of a batch. So tiles begin at multiples of their
size, from excerpt 0 on, and a shard that needs an excerpt computes its whole tile: an excerpt's
activations are the same in every shard, however the corpus is cut into shards.
"""

TILE = 32  # excerpts


def tiles_of(start: int, stop: int, n_excerpts: int) -> tuple[int, int]:
    """Return a range of excerpts, (start, stop), widened to whole tiles."""
    return start // TILE * TILE, min(-(-stop // TILE) * TILE, n_excerpts)


def whole_tiles(n: int) -> int:
    """Return a number of excerpts, rounded up to whole tiles."""
    return -(-n // TILE) * TILE
