"""Threads that share the cores of the CPU, for work of many small steps.

By itself torch shares each operation among all cores, where the threads wait for each other after
every one: for small operations longer than they compute. Some operations run on one core only.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

MOST = 4  # a part of such work is Python, which one thread runs at a time

_ALL = torch.get_num_threads()
# The number of cores is one of each thread for torch, and a new thread begins with the number that
# was set last in any of them: with a share, if another thread has just shared the cores.
_own = threading.local()
_own.is_set = True


def n_threads(device: torch.device) -> int:
    """Return how many threads share work for a device: one where it is no CPU."""
    return min(MOST, _n_cores()) if device.type == "cpu" else 1


def _n_cores() -> int:
    """Return how many cores torch uses in this thread."""
    if not getattr(_own, "is_set", False):
        torch.set_num_threads(_ALL)
        _own.is_set = True
    return torch.get_num_threads()


@contextmanager
def core_threads(device: torch.device) -> Iterator[ThreadPoolExecutor]:
    """Run `n_threads` threads, each of which computes on its share of the cores, in the block.

    Work that waits is dropped if the block raises.
    """
    before, n = _n_cores(), n_threads(device)
    share = max(1, before // n)
    threads = ThreadPoolExecutor(n, initializer=torch.set_num_threads, initargs=(share,))
    try:
        yield threads
    finally:
        threads.shutdown(cancel_futures=True)
        # For threads of libraries too, which begin with what was set last.
        torch.set_num_threads(before)
