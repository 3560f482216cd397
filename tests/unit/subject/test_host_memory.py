"""Freed memory that stays with the process."""

import platform
import subprocess
import sys

import pytest

# Elsewhere, as with musl or on macOS, both functions do nothing.
pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc has the setting"
)

# Pages that are mapped anew while a block of 64 MiB is taken and freed again and again. The first
# few blocks make the heap grow, as glibc finds room for aligned ones a little at a time.
SCRIPT = """
import resource, sys, torch
from neurogloss.subject.host_memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(16 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "kept":
    assert keep_freed_memory()
    for _ in range(20):
        torch.ones(16 << 20)
print(faults())
"""


def test_a_tile_takes_the_memory_that_the_last_one_freed():
    def faults(how: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, how], check=True, capture_output=True, text=True
        )
        return int(done.stdout)

    assert faults("kept") < 100 < 1000 < faults("given back")


PIECES = """
from pathlib import Path
import torch
from neurogloss.subject.host_memory import give_memory_back, keep_freed_memory

def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) >> 8

keep_freed_memory()
blocks = [torch.ones(4 << 20) for _ in range(40)]  # 16 MiB each, with small ones that stay
stay = [bytes(2000) for _ in range(2000)]
last = torch.ones(4 << 20)
before = resident_mib()
del blocks
held = resident_mib()
give_memory_back()
print(before - held, before - resident_mib())
"""


def test_what_lies_between_what_stays_is_given_back_after_a_pass():
    done = subprocess.run(
        [sys.executable, "-c", PIECES], check=True, capture_output=True, text=True
    )
    at_once, after_all = map(int, done.stdout.split())
    assert at_once < 100
    assert after_all > 550
