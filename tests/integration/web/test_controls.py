"""Controls: only where they are allowed, only from our own pages, and what they do is sound."""

import os

import pytest
from sqlalchemy import text

from db import runs
from orchestrator.controls import RunControls
from orchestrator.runs.create import create_or_resume
from orchestrator.runs.inputs import check_inputs
from orchestrator.verify.verify import find_differences
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.small_run import finish, run_config

RUN = "/runs/whole/control"
RESULTS = (
    "SELECT layer, neuron, excerpt, expected_activations, call FROM simulation ORDER BY 1, 2, 3"
)


@pytest.fixture
def engine(whole):
    """A finished run of which some neurons failed, in place of an empty database."""
    return whole


@pytest.fixture
def client(client_of, engine):
    """A client of a server that may change runs."""
    return client_of(controls=RunControls(engine))


def send(client, address, **values):
    values.setdefault("csrf", client.app.state.csrf)
    return client.post(address, data=values, follow_redirects=False)


def rows(engine, query, **values):
    with engine.begin() as connection:
        result = connection.execute(text(query), values)
        return result.all() if result.returns_rows else []


def state(engine):
    return rows(engine, "SELECT state, pause_cause FROM run")[0]


def test_a_server_without_controls_has_no_buttons_and_refuses(client_of, engine):
    client = client_of()
    assert '<button name="action"' not in client.get("/runs/whole").text
    assert send(client, RUN, action="retry").status_code == 403
    assert "only reads" in send(client, RUN, action="retry").text


def test_nobody_controls_a_run_from_elsewhere(client, engine):
    before = state(engine)
    assert send(client, RUN, action="retry", csrf="wrong").status_code == 403
    headers = {"Origin": "http://evil.example"}
    data = {"action": "retry", "csrf": client.app.state.csrf}
    assert client.post(RUN, data=data, headers=headers).status_code == 403
    assert state(engine) == before


def test_a_run_is_paused_and_resumed_and_the_page_says_so(client, engine):
    rows(engine, "UPDATE run SET state = 'running', finished_at = NULL")
    assert 'value="pause"' in client.get("/runs/whole").text
    answer = send(client, RUN, action="pause")
    assert answer.status_code == 303
    assert "is paused" in client.get(answer.headers["Location"]).text
    assert state(engine) == ("paused", "person")
    assert send(client, RUN, action="resume").status_code == 303
    assert state(engine).state == "running"
    assert send(client, RUN, action="resume").status_code == 409


def test_a_page_says_nothing_that_it_was_not_told_here(client):
    assert "You have won" not in client.get("/runs/whole?said=You+have+won").text


def test_failures_are_tried_again_by_class_and_by_neuron(client, engine):
    failures = rows(engine, "SELECT layer, neuron, failure_class FROM failure ORDER BY 1, 2")
    layer, neuron, _ = failures[0]
    address = f"/runs/whole/neurons/{layer}/{neuron}"
    assert "Try again" in client.get(address).text
    assert send(client, f"{address}/control", action="retry").status_code == 303
    left = rows(engine, "SELECT layer, neuron FROM failure ORDER BY 1, 2")
    assert left == [tuple(row)[:2] for row in failures if tuple(row)[:2] != (layer, neuron)]
    name = failures[-1].failure_class
    assert send(client, RUN, action="retry", failure_class=name).status_code == 303
    assert not rows(engine, "SELECT FROM failure WHERE failure_class = :name", name=name)
    assert send(client, RUN, action="retry", failure_class="none").status_code == 409


def test_limits_are_set_and_wrong_ones_refused(client, engine):
    said = send(client, RUN, action="set", assignments="budget.usd=12 shards.neurons=1")
    assert said.status_code == 409
    assert send(client, RUN, action="set", assignments="budget.usd=12").status_code == 303
    assert rows(engine, "SELECT budget_usd FROM run") == [(12.0,)]


@pytest.mark.parametrize("stage", ["explain", "simulate"])
def test_a_neuron_is_done_again_and_no_other(client_of, engine, services, monkeypatch, stage):
    monkeypatch.setitem(os.environ, "REDIS_URL", services.redis_url)
    with RehearsalServer(RehearsalOptions(seed=2)) as server:
        values = run_config(server.base_url).model_dump() | {"name": "again"}
        config = run_config(server.base_url).model_validate(values)
        run_id = create_or_resume(engine, config, check_inputs(config, {}), lambda: None)
        finish(engine, run_id)
        of_run = f"WHERE run_id = {run_id}"
        query = RESULTS.replace("ORDER", f"{of_run} ORDER")
        before = rows(engine, query)
        layer, neuron = before[0][:2]
        address = f"/runs/again/neurons/{layer}/{neuron}"
        client = client_of(controls=RunControls(engine))
        assert "again (about $" in client.get(address).text
        calls = rows(engine, f"SELECT count(*) FROM call {of_run}")[0][0]  # noqa: S608
        assert send(client, f"{address}/control", action=stage).status_code == 303
        page = client.get(f"{address}.json").json()
        assert page["state"] == ("explained" if stage == "simulate" else "collected")
        finish(engine, run_id)
    after = rows(engine, query)
    assert client.get(f"{address}.json").json()["state"] == "scored"
    assert rows(engine, f"SELECT count(*) FROM call {of_run}")[0][0] > calls  # noqa: S608
    others = [[row for row in found if row[:2] != (layer, neuron)] for found in (before, after)]
    assert others[0] == others[1]
    assert len(before) == len(after)
    with engine.begin() as connection:
        assert runs.get(connection, run_id).state == "done"
    assert list(find_differences(engine, run_id, lambda *_: None)) == []


def test_an_explanation_of_ones_own_is_scored_in_a_run_of_its_own(
    client_of, engine, services, monkeypatch
):
    monkeypatch.setitem(os.environ, "REDIS_URL", services.redis_url)
    with RehearsalServer(RehearsalOptions(seed=3)) as server:
        values = run_config(server.base_url).model_dump() | {"name": "base"}
        config = run_config(server.base_url).model_validate(values)
        base = create_or_resume(engine, config, check_inputs(config, {}), lambda: None)
        client = client_of(controls=RunControls(engine))
        of_base = "SELECT layer, neuron FROM neuron WHERE run_id = :run ORDER BY 1, 2"
        layer, neuron = rows(engine, of_base, run=base)[0]
        address = f"neurons/{layer}/{neuron}"
        refused = send(client, f"/runs/base/{address}/score", explanation="too early")
        assert (refused.status_code, "not done" in refused.text) == (409, True)
        finish(engine, base)
        before = client.get(f"/runs/base/{address}.json").json()
        answer = send(client, f"/runs/base/{address}/score", explanation="years & <b>months</b>")
        own = f"base.{layer}.{neuron}.1"
        assert answer.headers["Location"].startswith(f"/runs/{own}/{address}?said=")
        assert f"neurogloss resume {own}" in client.get(answer.headers["Location"]).text
        (run_id,) = rows(engine, "SELECT id FROM run WHERE name = :name", name=own)[0]
        finish(engine, run_id)
    value = client.get(f"/runs/{own}/{address}.json").json()
    assert (value["state"], value["explainer"]) == ("scored", "a person")
    assert value["explanation"] == "years & <b>months</b>"
    assert client.get(f"/runs/base/{address}.json").json() == before
    assert list(find_differences(engine, run_id, lambda *_: None)) == []
    for explanation in ("  ", "x" * 2001):
        sent = send(client, f"/runs/base/{address}/score", explanation=explanation)
        assert sent.status_code == 409


def test_an_imported_run_has_nothing_to_be_done_in(client, engine):
    layer, neuron = rows(engine, "SELECT layer, neuron FROM explanation LIMIT 1")[0]
    rows(engine, "DELETE FROM shard")
    address = f"/runs/whole/neurons/{layer}/{neuron}/control"
    assert send(client, address, action="simulate").status_code == 409
    assert rows(engine, "SELECT count(*) FROM retry WHERE stage = 'simulate'") == [(0,)]
