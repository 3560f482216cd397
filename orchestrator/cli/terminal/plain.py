"""Untrusted text made harmless for a terminal: models, servers and corpora write what they like."""

import logging


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


class PlainFormatter(logging.Formatter):
    """Writes log records as `plain_lines` does: they quote what servers say."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        return plain_lines(super().format(record))
