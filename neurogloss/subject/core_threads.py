"""Threads that share the cores of the CPU, for work of many small steps.

By itself torch shares each operation among all cores, where the threads wait for each other after
every one: for small operations longer than they compute.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

MOST = 4  # a part of such work is Python, which one thread runs at a time


def n_threads(device: torch.device) -> int:
    """Return how many threads share work for a device: one where it is no CPU."""
    return min(MOST, torch.get_num_threads()) if device.type == "cpu" else 1


@contextmanager
def core_threads(device: torch.device) -> Iterator[ThreadPoolExecutor]:
    """Run `n_threads` threads, each of which computes on one core, until the block ends.

    Work that waits is dropped if the block raises.
    """
    before = torch.get_num_threads()
    threads = ThreadPoolExecutor(
        n_threads(device), initializer=torch.set_num_threads, initargs=(1,)
    )
    try:
        yield threads
    finally:
        threads.shutdown(cancel_futures=True)
        # The number is one of each thread, but also what threads of libraries begin with later.
        torch.set_num_threads(before)
