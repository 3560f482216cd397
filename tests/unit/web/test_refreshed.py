"""Values that are read in the background."""

import threading
import time

import pytest

from web.refreshed import MOST, Refreshed


def eventually(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def refreshed_of():
    made = []

    def make(load, **settings):
        made.append(Refreshed(load, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_quick_value_is_there_at_once(refreshed_of):
    assert refreshed_of(lambda key: key * 2, wait_s=5).get(21) == 42


def test_nobody_waits_for_a_slow_value(refreshed_of):
    free = threading.Event()
    values = refreshed_of(lambda key: free.wait(10) and "read", wait_s=0.02)
    started = time.monotonic()
    assert values.get("a") is None
    assert time.monotonic() - started < 1
    free.set()
    eventually(lambda: values.get("a") == "read")


def test_many_askers_are_one_reader_and_the_value_is_renewed(refreshed_of):
    reads = []

    def load(key):
        reads.append(key)
        return len(reads)

    values = refreshed_of(load, every_s=0.2, wait_s=5)
    threads = [threading.Thread(target=values.get, args=("a",)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reads == ["a"]
    eventually(lambda: values.get("a") >= 2)


def test_who_asks_after_long_gets_a_new_value(refreshed_of):
    reads = []
    values = refreshed_of(lambda key: reads.append(key) or len(reads), every_s=0.02, wait_s=5)
    assert values.get("a") == 1
    time.sleep(0.1)
    assert values.get("a") == 2


def test_an_error_leaves_the_value_that_was_read_before(refreshed_of):
    outcomes = iter([1, OSError("away"), 3])

    def load(_):
        outcome = next(outcomes, 3)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    values = refreshed_of(load, every_s=0.01, wait_s=5)
    seen = [values.get("a")]
    eventually(lambda: seen.append(values.get("a")) or seen[-1] == 3)
    assert set(seen) == {1, 3}


def test_no_more_than_so_many_values_are_kept(refreshed_of):
    values = refreshed_of(lambda key: key, wait_s=5)
    for key in range(2 * MOST):
        assert values.get(key) == key
    assert len(values) == MOST
