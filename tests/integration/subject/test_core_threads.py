"""Threads that share the cores that torch has, and torch as it was afterwards."""

import subprocess
import sys
import threading

import pytest
import torch

from neurogloss.subject.core_threads import MOST, core_threads, n_threads

CPU = torch.device("cpu")


@pytest.fixture
def cores():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("given", "expected", "share"), [(1, 1, 1), (3, 3, 1), (64, MOST, 64 // MOST)]
)
def test_every_thread_computes_on_its_share_of_the_cores(given, expected, share, cores):
    cores(given)
    together = threading.Barrier(expected, timeout=20)

    def look(_):
        together.wait()  # so that no thread does the work of two
        return threading.get_ident(), torch.get_num_threads()

    with core_threads(CPU) as threads:
        seen = list(threads.map(look, range(expected)))
    assert n_threads(CPU) == expected
    assert len({thread for thread, _ in seen}) == expected
    assert {number for _, number in seen} == {share}
    assert torch.get_num_threads() == given


def test_threads_of_others_begin_with_all_cores_afterwards(cores):
    cores(3)
    with core_threads(CPU) as threads:
        list(threads.map(torch.sqrt, torch.ones(3)))
    found = []
    other = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert found == [3]


def test_work_that_waits_is_dropped_on_an_error(cores):
    cores(2)
    begun, go_on = [], threading.Event()

    def work(number):
        begun.append(number)
        go_on.wait(20)

    def stop():
        with core_threads(CPU) as threads:
            for number in range(50):
                threads.submit(work, number)
            threading.Timer(0.2, go_on.set).start()
            raise KeyError("ended")

    with pytest.raises(KeyError, match="ended"):
        stop()
    assert len(begun) <= 4
    assert torch.get_num_threads() == 2


def test_one_thread_gives_a_gpu_its_work():
    assert n_threads(torch.device("cuda")) == 1


def test_a_thread_that_begins_while_others_share_the_cores_has_all_of_them():
    # In a process of its own: what torch was told here stays with its threads.
    script = """
import threading, torch
torch.set_num_threads(3)
from neurogloss.subject.core_threads import core_threads, n_threads
cpu, found = torch.device("cpu"), []

def begin():
    with core_threads(cpu) as threads:
        found.append((n_threads(cpu), *threads.map(lambda _: torch.get_num_threads(), range(2))))

with core_threads(cpu) as threads:
    list(threads.map(torch.sqrt, torch.ones(3)))
    for _ in range(2):
        other = threading.Thread(target=begin)
        other.start()
        other.join()
print(found, n_threads(cpu))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[(3, 1, 1), (3, 1, 1)] 3"
