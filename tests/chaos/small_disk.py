"""A small disk for the database, so that it can be filled."""

import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path

from orchestrator.local.account import make_private_folder, server_account

BYTES = 384 << 20


def mount(folder: Path, stack: ExitStack) -> bool:
    """Make a folder with a disk of its own; return False where that takes rights we lack.

    It takes root and its capabilities. The disk goes with the stack; the folder is made either way.
    """
    folder.mkdir(mode=0o700)
    options = f"size={BYTES},mode=0700"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    is_mounted = False
    with suppress(OSError):
        is_mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    if is_mounted:
        stack.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=False)
    make_private_folder(folder, server_account(folder.parent))
    return is_mounted
