"""The thread of a GPU worker that does shards beside its passes over the corpus."""

import threading
import time
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from db import open_shards, shard_readiness, shards
from neurogloss.subject.shape import read_shape
from tests.support.collected_run import claimed, config_of, make_run
from tests.support.tiny_subject import VOCABULARY, make_tokens
from worker import side_shards
from worker.side_shards import SideShards
from worker.stages.collect import collect, side_steps

STEPS = ["boundaries", "select", "connections"]
N, TOKENS = 150, 8


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(side_shards, "LOOK_S", 0.02)


@pytest.fixture
def run(engine, tiny):
    """A run of the tiny model, of which nothing is done."""
    config = config_of("side", tiny, N, TOKENS, 64)
    run_id = make_run(engine, config, read_shape(tiny), make_tokens(N, VOCABULARY, TOKENS, 0))
    with engine.begin() as connection:
        shard_readiness.open_ready(connection, run_id)
    return run_id


@contextmanager
def beside(engine, do):
    stop = threading.Event()
    side = SideShards(engine, STEPS, do, stop)
    side.begin()
    try:
        yield
    finally:
        stop.set()
        side.end()
    assert "side-shards" not in {thread.name for thread in threading.enumerate()}


def wait_for(condition, seconds=30):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.02)


def first_of(engine, steps=STEPS):
    with engine.begin() as connection:
        return open_shards.first_of_steps(connection, steps)


def of_step(engine, step):
    with engine.begin() as connection:
        query = text("SELECT id FROM shard WHERE step = :step ORDER BY id")
        return connection.scalars(query, {"step": step}).all()


def change(engine, query, **values):
    with engine.begin() as connection:
        connection.execute(text(query), values)


def test_a_run_is_collected_by_passes_and_the_thread_beside_them(engine, run):
    by_thread = []

    def do(shard_id):
        shard = claimed(engine, run, shard_id)
        by_thread.append(shard.claim.step)
        collect(shard)
        return True

    with beside(engine, do):
        for step in ("reference", "read", "lookup"):
            wait_for(lambda step=step: _open(engine, run, step))
            for shard_id in of_step(engine, step):
                collect(claimed(engine, run, shard_id))
        wait_for(lambda: _n_open(engine, run) == 0)
    assert set(by_thread) == set(STEPS)
    with engine.begin() as connection:
        assert shards.unfinished(connection, run) == 0


def _open(engine, run_id, step):
    """Open what may be done; return whether shards of a step are among it."""
    with engine.begin() as connection:
        shard_readiness.open_ready(connection, run_id)
        query = text("SELECT bool_and(state = 'ready') FROM shard WHERE step = :step")
        return connection.scalar(query, {"step": step})


def _n_open(engine, run_id):
    with engine.begin() as connection:
        return shards.unfinished(connection, run_id)


def test_earlier_steps_come_first_and_other_steps_never(engine, run):
    connections, boundaries = of_step(engine, "connections"), of_step(engine, "boundaries")
    assert first_of(engine) == connections[0]
    change(engine, "UPDATE shard SET state = 'queued' WHERE id = :id", id=boundaries[1])
    assert first_of(engine) == boundaries[1]
    assert first_of(engine, ["reference"]) == of_step(engine, "reference")[0]
    assert first_of(engine, ["select"]) is None


def test_shards_that_cannot_be_claimed_are_passed_over(engine, run):
    first, second, *_ = of_step(engine, "connections")
    with engine.begin() as frozen:  # a process that holds the row and does not go on
        frozen.execute(text("SELECT FROM shard WHERE id = :id FOR UPDATE"), {"id": first})
        assert first_of(engine) == second
    most = shards.MAX_ATTEMPTS
    change(engine, "UPDATE shard SET attempts = :most WHERE id = :id", id=first, most=most)
    assert first_of(engine) == second
    change(engine, "UPDATE shard SET state = 'leased' WHERE id = :id", id=second)
    assert first_of(engine) is None
    change(engine, "UPDATE run SET state = 'paused'")
    assert first_of(engine) is None


def test_the_thread_outlives_what_breaks_and_ends_with_the_process(engine, run, caplog):
    tried = []

    def do(shard_id):
        tried.append(shard_id)
        if len(tried) == 1:
            raise KeyError("broken")
        return False

    with beside(engine, do):
        wait_for(lambda: len(tried) > 2)
    assert [record.message for record in caplog.records].count("side shard broke") == 1


def test_one_that_was_not_claimed_is_not_tried_without_a_pause(engine, run, monkeypatch):
    monkeypatch.setattr(side_shards, "LOOK_S", 10)
    tried = []

    def do(shard_id):
        tried.append(shard_id)
        return False

    with beside(engine, do):
        wait_for(lambda: tried)
        time.sleep(0.3)
    assert len(tried) == 1


@pytest.mark.parametrize(("device", "steps"), [("cpu", STEPS), ("cuda", ["boundaries", "select"])])
def test_a_gpu_computes_one_shard_at_a_time(device, steps, monkeypatch):
    import torch

    from worker.stages.collect import steps as collect_steps

    monkeypatch.setattr(collect_steps, "find_device", lambda: torch.device(device))
    assert side_steps() == steps
