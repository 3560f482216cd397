"""Files of text, decoded piece by piece: UTF-8, or what a byte order mark says; else refused."""

import codecs
import re
from collections import deque
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TextIO

from neurogloss.errors import InputError
from orchestrator.corpus.files import check_regular, shown

PART = 250_000  # characters that are decoded at a time
LONG_LINE = 250_000  # characters, from which on a line is not held as a whole
UNFIT = re.compile("[\ud800-\udfff\0]")  # NUL, and halves of surrogate pairs: no characters
COMPRESSED = {".gz": "gunzip", ".bz2": "bunzip2", ".xz": "unxz", ".zst": "unzstd", ".zip": "unzip"}
"""Endings of compressed files, and what decompresses them."""
# How files of other kinds begin that are taken for text by their names.
_KINDS = {
    b"\x1f\x8b": "compressed by gzip: run `gunzip` on it first",
    b"BZh91AY": "compressed by bzip2: run `bunzip2` on it first",
    b"\xfd7zXZ": "compressed by xz: run `unxz` on it first",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: run `unzstd` on it first",
    b"PK\x03\x04": "an archive, or an office document: save what is in it as text",
    b"%PDF-": "a PDF: save its text, with `pdftotext` for example",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself: run `git lfs pull`",
}
_LONGEST_START = 32  # bytes
# UTF-32's begins with UTF-16's, so it comes first.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def text_parts(file: Path) -> Iterator[str]:
    """Yield the text of a file in parts of at most `PART` characters.

    Raises:
        InputError: The file cannot be read, or is not text.
    """
    with _opened(file) as opened:
        while part := _read(file, opened, PART):
            yield part


def text_lines(file: Path) -> Iterator[tuple[int, str | Iterator[str]]]:
    """Yield the lines of a file of text with their numbers, from 1; a long line comes in parts.

    The parts have to be read before the next line is.

    Raises:
        InputError: The file cannot be read, or is not text.
    """
    number = 0
    with _opened(file) as opened:
        while line := _read(file, opened, LONG_LINE, whole_line=True):
            number += 1
            if len(line) < LONG_LINE or line.endswith("\n"):
                yield number, line
                continue
            rest = _rest_of_line(file, opened)
            yield number, chain([line], rest)
            deque(rest, maxlen=0)  # what was not looked at


def _rest_of_line(file: Path, opened: TextIO) -> Iterator[str]:
    while part := _read(file, opened, PART, whole_line=True):
        yield part
        if part.endswith("\n"):
            return


def _opened(file: Path) -> TextIO:
    check_regular(file)
    try:
        start = check_kind(file)
        encoding = next((e for mark, e in _MARKS.items() if start.startswith(mark)), "utf-8")
        # Bytes that cannot be decoded are marked, not raised: the message then tells their line and
        # how many lines are like it.
        return file.open(encoding=encoding, errors=_MARK_BYTES)
    except OSError as error:
        raise InputError(f"{shown(file)} cannot be read: {error.strerror}") from error


def check_kind(file: Path) -> bytes:
    """Check that a file is no archive and the like; return its first bytes.

    Raises:
        InputError: It is one.
        OSError: It cannot be read.
    """
    with file.open("rb") as opened:
        start = opened.read(_LONGEST_START)
    for beginning, what in _KINDS.items():
        if start.startswith(beginning):
            raise InputError(f"{shown(file)} is {what}")
    return start


def _read(file: Path, opened: TextIO, size: int, *, whole_line: bool = False) -> str:
    try:
        text = opened.readline(size) if whole_line else opened.read(size)
    except OSError as error:
        raise InputError(f"{shown(file)} cannot be read: {error.strerror}") from error
    if UNFIT.search(text):
        raise InputError(_what_is_unfit(file, opened.encoding))
    return text


def _mark(error: UnicodeError) -> tuple[str, int]:
    """Return a byte that cannot be decoded as half a surrogate pair, which no text holds."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return chr(0xDC00 + error.object[error.start]), error.end


_MARK_BYTES = "neurogloss.mark_bytes"
codecs.register_error(_MARK_BYTES, _mark)


def _what_is_unfit(file: Path, encoding: str) -> str:
    """Return where a file is not text: the first place, and the number of such lines."""
    first, character, n_lines, number, latest = 0, "", 0, 1, 0
    with file.open(encoding=encoding, errors=_MARK_BYTES) as opened:
        while piece := opened.readline(PART):
            if (found := UNFIT.search(piece)) and number != latest:
                first, character = (first, character) if n_lines else (number, found[0])
                n_lines, latest = n_lines + 1, number
            number += piece.endswith("\n")
    more = f"; {n_lines:,} such lines in all" if n_lines > 1 else ""
    return f"{shown(file)}, line {first}: {_reason(character, encoding)}{more}"


def _reason(character: str, encoding: str) -> str:
    if character == "\0":
        return (
            "there is a NUL, as in binary files and in UTF-16 without a byte order mark: save the "
            "text as UTF-8"
        )
    byte = f"the byte 0x{ord(character) & 0xFF:02x}"
    if encoding.startswith("utf-8"):
        return (
            f"{byte} is not UTF-8: save the text as UTF-8; if it is Windows-1252, "
            "`iconv -f WINDOWS-1252 -t UTF-8` converts it"
        )
    return f"{byte} begins no character of {encoding.upper()}, which the byte order mark announces"
