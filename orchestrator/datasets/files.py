"""Files that appear only when they are complete, and their checksums."""

import hashlib
import heapq
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from neurogloss.errors import InputError


class Folder:
    """Writes files below a folder; `sums` has the SHA-256 of each file, by relative path.

    A file is written under a temporary name and renamed, so that neither a reader of the folder nor
    a crash meets an incomplete file.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sums: dict[str, str] = {}
        # Folders that exist, so that each of 300,000 files does not ask for its folder again.
        self._made: set[str] = set()

    def write(self, path: str, content: bytes) -> None:
        """Write a small file."""
        target, partial = self._paths(path)
        try:
            partial.write_bytes(content)
            partial.replace(target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        self.sums[path] = hashlib.sha256(content).hexdigest()

    @contextmanager
    def new_file(self, path: str) -> Iterator[Path]:
        """Yield a temporary path, which is renamed to `path` at the end of the block.

        If the block writes nothing, there is no file.
        """
        with self._renamed(path) as partial:
            yield partial
            if not partial.exists():
                return
            with partial.open("rb") as stream:
                self.sums[path] = hashlib.file_digest(stream, "sha256").hexdigest()

    @contextmanager
    def _renamed(self, path: str) -> Iterator[Path]:
        named, partial = self._paths(path)
        target = Path(named)
        try:
            yield partial
            if partial.exists():
                partial.replace(target)
            else:
                # An earlier export may have had rows where this one has none.
                target.unlink(missing_ok=True)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def _paths(self, path: str) -> tuple[str, Path]:
        """Return a file's path and its temporary one; their folder exists then."""
        # As text, since `pathlib` takes its time to join and to split.
        folder, _, name = f"{self.root}/{path}".rpartition("/")
        if folder not in self._made:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self._made.add(folder)
        # In the same folder, since only a rename within one file system is atomic; with the process
        # id, since two exports may meet in one folder.
        return f"{folder}/{name}", Path(f"{folder}/.{name}.{os.getpid()}.part")


def read_file(path: Path, most_bytes: int) -> bytes:
    """Return the content of a regular file, to which `path` may be a link.

    Raises:
        InputError: It is none, such as a device or a FIFO, or is larger than `most_bytes`.
        OSError: It cannot be read.
    """
    # A FIFO that is opened without O_NONBLOCK waits for somebody who writes.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InputError(f"{path} is no regular file: it may have no end")
        # Some files of the system say that they are empty, so the size is not believed. A copy of
        # the descriptor, since the file object closes the one that it gets.
        with os.fdopen(os.dup(descriptor), "rb") as file:
            content = file.read(most_bytes + 1)
    finally:
        os.close(descriptor)
    if len(content) > most_bytes:
        raise InputError(f"{path} is larger than {most_bytes >> 20} MiB")
    return content


def merge_checksums(paths: Sequence[Path], merged: Path) -> int:
    """Merge files of `checksum_lines` into one sorted by path; return its number of lines.

    The files are merged line by line, since a dataset of GPT-2 XL has more than a million files.
    """
    with ExitStack() as files, merged.open("w", encoding="utf-8") as target:
        opened = [files.enter_context(path.open(encoding="utf-8")) for path in paths]
        lines = heapq.merge(*opened, key=lambda line: line.partition("  ")[2])
        return sum(bool(target.write(line)) for line in lines)


def remove_partial(root: Path) -> None:
    """Remove the temporary files of processes that were killed."""
    for folder, _, names in os.walk(root):  # `rglob` would remember every path
        for name in names:
            if name.startswith(".") and name.endswith(".part"):
                Path(folder, name).unlink(missing_ok=True)


def checksum_lines(sums: dict[str, str]) -> str:
    """Return checksums in the format of `sha256sum --check`, sorted by path."""
    return "".join(f"{sums[path]}  {path}\n" for path in sorted(sums))


def read_checksums(text: str, where: str) -> dict[str, str]:
    """Parse the output of `checksum_lines`; return the checksums by path.

    Raises:
        InputError: A line is not a SHA-256 and a relative path below the folder.
    """
    sums = {}
    for number, line in enumerate(text.splitlines(), 1):
        digest, separator, path = line.partition("  ")
        parts = path.split("/")
        # The list comes from outside: none of its paths may lead out of the folder.
        if not separator or len(digest) != 64 or not path or ".." in parts or parts[0] == "":
            raise InputError(f"{where}, line {number}: not a checksum and a path below the folder")
        sums[path] = digest
    return sums
