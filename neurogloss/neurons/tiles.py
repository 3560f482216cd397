"""Tiles: the excerpts that go through the subject model together.

Floating-point results may depend on what is computed together. So the corpus is cut into tiles at
the multiples of their size, from excerpt 0 on, and whoever needs an excerpt computes its whole
tile: its activations are the same in every shard, however shards are cut.
"""

TILE = 32


def tiles_of(start: int, stop: int, n_excerpts: int) -> tuple[int, int]:
    """Return the range of excerpts, (start, stop), of the tiles that hold a range of excerpts."""
    return start // TILE * TILE, min(-(-stop // TILE) * TILE, n_excerpts)


def whole_tiles(n: int) -> int:
    """Return the next multiple of the size of a tile."""
    return -(-n // TILE) * TILE
