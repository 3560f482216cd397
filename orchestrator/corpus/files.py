"""The files of a corpus folder: which are read, and how their names are shown and stored."""

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from neurogloss.errors import InputError

# What systems and editors leave beside the files of people. Names with a dot in front are others.
_LITTER = {"__macosx", "$recycle.bin", "system volume information", "@eadir", "lost+found"}
_SPECIAL = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def shown(path: Path) -> str:
    """Return a path as text that can be printed and stored: bytes that are not UTF-8 as escapes."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


def files_of(folder: Path, endings: Collection[str]) -> list[Path]:
    """Return the files of a folder, and of its folders, that have one of the endings, in order.

    Hidden files and litter are left out, in whatever case an ending is written.

    Raises:
        InputError: A folder cannot be read, or something has such an ending and is no file.
    """
    found = sorted(path for path in _walk(folder) if path.suffix.lower() in endings)
    for path in found:
        check_regular(path)
    return found


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise InputError(f"{shown(Path(error.filename))} cannot be read: {error.strerror}")

    for here, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not _is_litter(name)]
        yield from (Path(here, name) for name in names if not _is_litter(name))


def _is_litter(name: str) -> bool:
    return name.startswith((".", "~$")) or name.endswith("~") or name.lower() in _LITTER


def check_regular(path: Path) -> None:
    """Check that a path leads to a regular file: opening a pipe would wait for a writer.

    Raises:
        InputError: It leads nowhere, or to something else.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InputError(f"{shown(path)} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        kind = _SPECIAL.get(stat.S_IFMT(mode), "something special")
        raise InputError(f"{shown(path)} is {kind}, not a file of text: remove it or leave it out")
