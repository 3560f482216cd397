"""Rates and the time left in the view run_progress, from results counted by the minute."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from db import progress

MINUTE_PAST = "SELECT extract(second FROM now()) / 60"


def stored(connection, run_id, finished):
    """Store how much was finished, by minutes before this one."""
    for minutes_ago, n in finished.items():
        connection.execute(
            text("""
                INSERT INTO throughput (run_id, stage, minute, finished)
                VALUES (:run, 'explain', date_trunc('minute', now())
                        - :ago * interval '1 minute', :n)
            """),
            {"run": run_id, "ago": minutes_ago, "n": n},
        )


def explain_progress(connection):
    return next(row for row in progress.stages(connection, "r") if row.stage == "explain")


@pytest.fixture
def connection(engine, run_id):
    """One transaction, in which the database's clock stands still."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE progress SET total = 100000 WHERE stage = 'explain'"))
        yield connection


def test_the_rate_of_the_last_minute_follows_at_once(connection, run_id):
    past = float(connection.scalar(text(MINUTE_PAST)))
    slow = dict.fromkeys(range(2, 40), 60)
    stored(connection, run_id, slow | {1: 600, 0: round(600 * past)})
    row = explain_progress(connection)
    assert float(row.per_minute) == pytest.approx(600, abs=1)
    assert 60 < row.per_minute_60 < row.per_minute_15 < 200
    assert row.eta_low < row.eta < row.eta_high
    left = row.total - row.done - row.failed
    assert row.eta_low == pytest.approx(timedelta(minutes=left / 600), abs=timedelta(seconds=30))


def test_no_rate_counts_the_time_before_the_first_result(connection, run_id):
    past = max(1 / 60, float(connection.scalar(text(MINUTE_PAST))))
    stored(connection, run_id, {0: 10})
    row = explain_progress(connection)
    for rate in (row.per_minute, row.per_minute_15, row.per_minute_60):
        assert float(rate) == pytest.approx(10 / past, abs=0.1)


def test_a_stage_that_stands_still_says_so(connection, run_id):
    stored(connection, run_id, {30: 60})
    row = explain_progress(connection)
    assert (row.per_minute, row.per_minute_15, row.eta) == (0, 0, None)
    assert row.per_minute_60 > 0
    assert row.eta_low == row.eta_high is not None


def test_a_paused_run_has_no_time_left(connection, run_id):
    stored(connection, run_id, {1: 60, 0: 60})
    connection.execute(text("UPDATE run SET state = 'paused'"))
    row = explain_progress(connection)
    assert (row.state, row.eta, row.eta_low, row.eta_high) == ("paused", None, None, None)
