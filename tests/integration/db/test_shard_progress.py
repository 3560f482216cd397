"""How far the shards are that workers hold, as heartbeats tell it and views show it."""

import threading
import time
from datetime import timedelta

import pytest
from sqlalchemy import text

from db import progress
from tests.support.shards import LEASE_S, claim
from worker.held_shards import HeldShards
from worker.shard import ClaimedShard, Lease
from worker.stages.forward_pass import interruption_check


@pytest.fixture
def shard(engine, run_id):
    """A shard of collect that a worker holds, claimed a minute ago."""
    held = claim(engine)
    with engine.begin() as connection:
        connection.execute(
            text("""
                UPDATE shard SET stage = 'collect', step = 'read', weight = 500,
                       claimed_at = now() - interval '1 minute' WHERE id = :id
            """),
            {"id": held.shard_id},
        )
        connection.execute(
            text("""
                INSERT INTO progress (run_id, stage, layer, total) VALUES (:run, 'collect', -1, 900)
                ON CONFLICT (run_id, stage, layer) DO UPDATE SET total = 900
            """),
            {"run": run_id},
        )
    lease = Lease(threading.Event(), time.monotonic() + LEASE_S)
    return ClaimedShard(engine, held, None, None, lease)


def beat(engine, shard, fraction):
    held = HeldShards()
    held.add(shard)
    shard.lease.fraction = fraction
    held.renew(engine, LEASE_S)


def of_collect(engine):
    with engine.begin() as connection:
        found = progress.of_run(connection, "r")
    return (
        next(row for row in found.stages if row.stage == "collect"),
        next(row for row in found.steps if row.step == "read"),
    )


def test_a_heartbeat_tells_how_far_a_shard_is(engine, shard):
    for fraction in (0.25, 0.5):
        beat(engine, shard, fraction)
        stage, step = of_collect(engine)
        assert stage.done == 0
        assert float(stage.under_way) == pytest.approx(500 * fraction, abs=0.1)
        assert float(stage.percent) == pytest.approx(100 * 500 * fraction / 900, abs=0.01)
        assert (step.done, step.under_way) == (0, fraction)


def test_calls_between_batches_count_for_as_much_as_they_say(shard):
    check = interruption_check(shard, 2 * 40 + 20)
    check(40)
    assert shard.lease.fraction == 0.4
    for _ in range(10):
        check()
    assert shard.lease.fraction == 0.5


def test_the_time_left_is_told_before_a_shard_is_finished(engine, shard):
    assert of_collect(engine)[0].eta is None
    beat(engine, shard, 0.5)  # 250 of 900 in a minute
    eta = of_collect(engine)[0].eta
    assert eta == pytest.approx(timedelta(minutes=650 / 250), abs=timedelta(seconds=20))


def test_a_shard_that_is_claimed_again_begins_at_nothing(engine, run_id, shard):
    beat(engine, shard, 0.5)
    with engine.begin() as connection:
        connection.execute(text("UPDATE shard SET lease_until = now() - interval '1 s'"))
    claim(engine)
    assert of_collect(engine)[0].under_way == 0


@pytest.mark.parametrize("view", ["step_progress", "run_progress"])
def test_progress_is_read_by_indexes(engine, shard, view):
    with engine.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO shard (run_id, stage, layer, start, stop, weight, state)
                SELECT run_id, 'score', 0, n, n + 1, 1, 'done'
                FROM shard, generate_series(1, 20000) AS n WHERE id = :id
            """),
            {"id": shard.claim.shard_id},
        )
        connection.execute(text("ANALYZE shard"))
        plan = "\n".join(connection.scalars(text(f"EXPLAIN SELECT * FROM {view}")))  # noqa: S608
    assert "Seq Scan on shard" not in plan, plan


def test_a_shard_that_was_done_beside_another_took_its_part_of_the_time(engine, shard):
    mine = shard.claim.shard_id
    with engine.begin() as connection:
        connection.execute(
            text("""
                UPDATE shard SET stage = 'collect', step = 'connections', state = 'leased',
                       worker = 'w' WHERE id = (SELECT max(id) FROM shard)
            """)
        )
    with shard.committing():
        pass
    with engine.connect() as connection:
        query = text("SELECT took_s FROM shard WHERE id = :id")
        assert connection.scalar(query, {"id": mine}) == pytest.approx(60 / 2, abs=5)
