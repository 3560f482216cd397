"""Holds on a budget that expire while a process is frozen."""

import time

import pytest

from db import budget, runs
from db.session import transaction
from worker.run_state import PostgresRunState, RunBudget

OTHER = "another process"


@pytest.fixture
def run_with_budget(engine, run_id, monkeypatch):
    monkeypatch.setattr(budget, "EXPIRES_S", 0.5)
    with engine.begin() as connection:
        runs.set_budget(connection, run_id, 10.0)
    return run_id


def held_by_another(engine, run_id, usd):
    with transaction(engine) as connection:
        return budget.hold(connection, run_id, OTHER, out=usd, wanted=0.0)


def test_a_hold_expires_in_the_process_no_later_than_in_the_database(engine, run_with_budget):
    here = RunBudget(engine, run_with_budget)
    hold = here.hold(0.0, 9.0)
    assert hold.is_valid() and hold.usd >= 9.0
    time.sleep(0.6)
    assert held_by_another(engine, run_with_budget, 10.0).elsewhere == 0
    assert not hold.is_valid()
    again = here.hold(0.0, 9.0)
    assert (again.usd, again.elsewhere) == (0.0, 10.0)


def test_a_hold_is_kept_while_the_run_is_looked_at_and_one_that_expired_is_not_brought_back(
    engine, run_with_budget
):
    here = RunBudget(engine, run_with_budget)
    state = PostgresRunState(engine, run_with_budget, {}, budget=here)
    hold = here.hold(0.0, 9.0)
    for _ in range(3):
        time.sleep(0.3)
        assert state.is_running()
    assert hold.is_valid()
    assert held_by_another(engine, run_with_budget, 0.0).elsewhere == hold.usd
    time.sleep(0.6)
    assert state.is_running()
    assert not hold.is_valid()
    assert held_by_another(engine, run_with_budget, 0.0).elsewhere == 0
