"""Repeatable random numbers: the same seed and subject always give the same number."""

import hashlib

_SPAN = 2**64


def draw(seed: int, *subject: str | bytes | int) -> int:
    """Return an integer below 2**64, uniformly distributed over subjects."""
    parts = (part if isinstance(part, bytes) else str(part).encode() for part in (seed, *subject))
    # Lengths are hashed too: without them ("ab", "c") and ("a", "bc") would draw the same.
    text = b"".join(b"%d:%b" % (len(part), part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())


def uniform(seed: int, *subject: str | bytes | int) -> float:
    """Return a number in [0, 1), uniformly distributed over subjects."""
    return (draw(seed, *subject) >> 11) / (_SPAN >> 11)  # 53 bits: what a float holds exactly
