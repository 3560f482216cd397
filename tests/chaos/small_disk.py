"""Small disks for the database and for the spool of workers, so that they can be filled."""

import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path

OF_DATABASE, OF_SPOOL = 384 << 20, 4 << 20  # bytes


def mount(folder: Path, size: int, stack: ExitStack) -> bool:
    """Make a folder with a disk of its own; return False where that takes rights we lack.

    It takes root and its capabilities. The disk goes with the stack; the folder is made either way.
    """
    folder.mkdir(mode=0o700)
    options = f"size={size},mode=0700"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    is_mounted = False
    with suppress(OSError):
        is_mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    if is_mounted:
        stack.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=False)
    return is_mounted


def fill(disk: Path) -> Path:
    """Write to a disk until it is full; return the file that is to be removed."""
    ballast = disk / "ballast"
    for size in (1 << 20, 1 << 12):
        with suppress(OSError), ballast.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(size))
    return ballast
