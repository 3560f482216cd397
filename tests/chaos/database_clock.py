"""The clock of Postgres alone, which can be set: by libfaketime, which the server preloads."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
# As root, `setpriv` changes the account. The library makes a semaphore for each process, which the
# server could not open if it belonged to root: so it is loaded after the change.
_SETPRIV = """#!/bin/bash
options=()
while [ "$1" != -- ]; do options+=("$1"); shift; done
shift
exec {setpriv} "${{options[@]}}" -- env LD_PRELOAD={library} "$@"
"""


class DatabaseClock:
    """By how many seconds the server's clock is wrong; monotonic clocks go on as they do.

    Does nothing where libfaketime (Debian's package `libfaketime`) is not installed.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder, self._file = folder, folder / "offset"
        self._offset = 0.0
        self.can_jump = bool(LIBRARIES)
        self.jump(0.0)

    def jump(self, seconds: float) -> None:
        """Set the clock forward, or back."""
        self._offset += seconds
        new = self._file.with_suffix(".new")
        new.write_text(f"{self._offset:+.3f}\n")
        new.chmod(0o644)
        new.rename(self._file)

    @contextmanager
    def preloaded(self) -> Iterator[None]:
        """Let servers that are started meanwhile go by this clock."""
        before = os.environ.copy()
        if self.can_jump:
            os.environ |= self._environment()
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def _environment(self) -> dict[str, str]:
        common = {
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        if os.geteuid() != 0:
            return common | {"LD_PRELOAD": str(LIBRARIES[0])}
        wrapper = self._folder / "setpriv"
        real = shutil.which("setpriv", path="/usr/bin:/bin")
        wrapper.write_text(_SETPRIV.format(setpriv=real, library=LIBRARIES[0]))
        wrapper.chmod(0o755)
        return common | {"PATH": f"{self._folder}:{os.environ['PATH']}"}
