"""The list of all runs."""

import json

from sqlalchemy import text


def test_runs_are_listed_with_their_state_progress_and_cost(whole, command):
    with whole.begin() as connection:
        neurons, scored = connection.execute(
            text("SELECT (SELECT count(*) FROM neuron), (SELECT count(*) FROM score)")
        ).one()
        usd = connection.execute(text("SELECT sum(usd + wasted_usd) FROM spend")).scalar_one()
    code, output = command("runs", "--json")
    (row,) = json.loads(output)
    assert code == 0
    assert (row["run"], row["state"], row["pause_cause"]) == ("whole", "done", None)
    assert (row["neurons"], row["scored"]) == (neurons, scored)
    assert (row["usd"], row["calls"] > 0) == (usd, True)
    assert row["finished_at"] > row["created_at"]
    code, table = command("runs")
    assert code == 0
    assert "whole" in table
    assert f"{neurons:,}" in table


def test_a_paused_run_is_listed_with_the_cause(whole, command):
    with whole.begin() as connection:
        connection.execute(text("UPDATE run SET state = 'paused', pause_cause = 'credit'"))
    assert "paused (credit)" in command("runs")[1]


def test_no_run_is_said_so(whole, command):
    with whole.begin() as connection:
        connection.execute(text("DELETE FROM run"))
    assert command("runs") == (0, "there is no run yet\n")
    assert command("runs", "--json") == (0, "[]\n")
