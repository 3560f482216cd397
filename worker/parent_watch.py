"""Ends a local worker when the command that started it is gone, even killed with -9.

The parent holds the write end of a pipe and never writes; its children hold the read end. The
kernel closes the write end with the parent, and a read in the child returns. That also works when
the parent was gone before the child came to watch, and wherever there are pipes.
"""

import os
import signal
import threading
import time
from pathlib import Path

PARENT_FD = "NEUROGLOSS_PARENT_FD"
GRACE_SECONDS = 20.0  # more than a process takes to store answers in flight


def exit_with_parent() -> None:
    """Watch the parent that the environment variable `PARENT_FD` tells of, if it is set.

    Once the parent is gone this process gets SIGTERM, and SIGKILL `GRACE_SECONDS` later.

    Raises:
        ValueError: The variable does not name a pipe of this process.
    """
    number = os.environ.pop(PARENT_FD, None)  # not for children of ours, who have no such pipe
    if number is None:
        return
    if not number.isdecimal() or not Path(f"/dev/fd/{number}").is_fifo():
        raise ValueError(f"{PARENT_FD}={number} is not an open pipe: only a parent process sets it")
    descriptor = int(number)
    os.set_inheritable(descriptor, False)
    threading.Thread(target=_watch, args=(descriptor,), name="parent-watch", daemon=True).start()


def _watch(descriptor: int) -> None:
    os.read(descriptor, 1)  # returns when the parent's end is closed
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    if os.getpgrp() == os.getpid():  # a worker with a group of its own takes its pool along
        os.killpg(os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
