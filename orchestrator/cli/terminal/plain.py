"""Values as text for a terminal. What models, servers and corpora wrote is made harmless."""

import math


def plain(text: str) -> str:
    """Return text on one line, with whatever a terminal would act on as visible escapes.

    That is everything that is not printable: line breaks, escape sequences, controls that turn the
    direction of writing, invisible characters, NUL.
    """
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(shown)


def plain_lines(text: str) -> str:
    """Return text with its own line breaks, and all else as `plain` does."""
    return "\n".join(map(plain, text.split("\n")))


def number(value: float | None, digits: int = 3) -> str:
    """Return a number, or a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"
