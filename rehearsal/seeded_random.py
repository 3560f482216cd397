"""Chance that repeats: the same seed and subject always draw the same."""

import hashlib

_SPAN = 2**64


def draw(seed: int, *subject: str | bytes | int) -> int:
    """Return an integer below 2**64, spread evenly over the subjects."""
    parts = (part if isinstance(part, bytes) else str(part).encode() for part in (seed, *subject))
    # Lengths go in too: without them ("ab", "c") and ("a", "bc") would draw alike.
    text = b"".join(b"%d:%b" % (len(part), part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())


def uniform(seed: int, *subject: str | bytes | int) -> float:
    """Return a number in [0, 1)."""
    return (draw(seed, *subject) >> 11) / (_SPAN >> 11)  # 53 bits: what a float holds exactly
