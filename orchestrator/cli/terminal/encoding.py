"""Terminals and files whose encoding lacks characters: cron, CI, old systems."""

import io
import sys


def escape_what_cannot_be_written() -> None:
    """Let standard output and error show characters that their encoding lacks as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not where a test or a caller has put another
            stream.reconfigure(errors="backslashreplace")
