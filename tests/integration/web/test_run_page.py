"""The page of a run on what a real run has stored."""

import re
import threading
import time

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event, text

from db import progress, runs
from db.run_status import status_of
from db.session import transaction
from db.unanswered import RetriedCalls, replace_retried
from web.app import make_app
from web.overview.heat import SCALES
from web.overview.watched import PARTS, RunTopic
from web.settings import WebSettings

QUICK_S = 10


@pytest.fixture
def app(whole):
    app = make_app(WebSettings(engine=whole))
    yield app
    app.state.watched.close()


@pytest.fixture
def client(app):
    with TestClient(app, base_url="http://localhost") as client:
        yield client


def whole_value(client):
    """Return the JSON of the page once its results were read."""
    deadline = time.monotonic() + QUICK_S
    while time.monotonic() < deadline:
        value = client.get("/runs/whole.json").json()
        if value["results"] is not None:
            return value
        time.sleep(0.05)
    raise AssertionError("results were not read")


def make_recent(engine):
    """Let the calls of a run be of this minute: those of a page are of the last 15."""
    with engine.begin() as connection:
        # By way of the next century, since two minutes must not meet on the way.
        for since in ("'2100-01-01'", "date_trunc('minute', now())"):
            connection.execute(
                text(f"""
                    UPDATE call_minute SET minute = minute + ({since}::timestamptz
                        - (SELECT max(minute) FROM call_minute))
                """)  # noqa: S608  (constants)
            )


def test_numbers_are_those_of_the_views(whole, client):
    make_recent(whole)
    value = whole_value(client)
    with transaction(whole) as connection:
        stored = progress.of_run(connection, "whole")
    assert [(s["stage"], s["done"], s["failed"]) for s in value["stages"]] == [
        (s.stage, s.done, s.failed) for s in stored.stages
    ]
    assert value["money"]["spent"] == pytest.approx(sum(cost.usd for cost in stored.costs))
    assert {(f["stage"], f["failure_class"], f["n"]) for f in value["results"]["failures"]} == {
        (f.stage, f.failure_class, f.n) for f in stored.failures
    }
    (use,) = value["uses"]
    assert sum(use["outcomes"].values()) == sum(cost.calls for cost in stored.costs)
    assert value["state"]["state"] == "done"
    assert value["state"]["commands"] == ["neurogloss retry whole", "neurogloss resume whole"]


def test_the_page_has_every_part_and_is_small(client):
    whole_value(client)
    page = client.get("/runs/whole").text
    for part in PARTS:
        assert f'id="part-{part}"' in page
    assert "refused" in page
    assert len(page.encode()) < 150_000
    assert not re.search(r"<style|\sstyle=|<script(?! src)", page)


def test_what_is_sent_live_is_what_the_page_shows(app, client):
    whole_value(client)
    page = client.get("/runs/whole").text
    topic = RunTopic("whole", "score")
    parts = app.state.watched.read([topic])[topic]
    assert set(parts) == {f"part-{part}" for part in PARTS}
    for name in (
        "part-money",
        "part-failures",
        "part-heat",
        "part-scores",
    ):  # without times, which pass
        assert without_times(parts[name]) in without_times(page)


def without_times(html):
    return re.sub(r">[^<]* ago<", "><", html)


def test_open_pages_of_one_run_are_read_at_once(app, client, whole):
    whole_value(client)
    seen = []
    event.listen(whole, "before_cursor_execute", lambda *_: seen.append(threading.get_ident()))
    counts = []
    for n in (1, 5):
        seen.clear()
        app.state.watched.read([RunTopic("whole", scale) for scale in list(SCALES)[:n]])
        counts.append(seen.count(threading.get_ident()))  # others read results meanwhile
    assert counts[0] == counts[1]
    assert 0 < counts[0] < 20


def test_a_run_that_is_gone_or_never_was_has_no_page(client, app):
    assert client.get("/runs/nowhere").status_code == 404
    assert client.get("/runs/nowhere/events").status_code == 404
    topic = RunTopic("nowhere", "score")
    assert app.state.watched.read([topic]) == {topic: {}}


def test_the_heat_map_counts_every_neuron(whole, client):
    whole_value(client)
    deadline = time.monotonic() + QUICK_S
    while (answer := client.get("/runs/whole/heat.json")).status_code == 503:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    heat = answer.json()
    cells = [dict(zip(heat["columns"], cell, strict=True)) for cell in heat["cells"]]
    with transaction(whole) as connection:
        stored = connection.execute(
            text("SELECT state, count(*) FROM neuron_summary WHERE run = 'whole' GROUP BY 1")
        )
        states = {state: n for state, n in stored}
    assert sum(cell["n"] for cell in cells) == sum(states.values())
    assert sum(cell["failed"] for cell in cells) == states["failed"]
    assert sum(cell["done"] for cell in cells) == states["scored"] + states.get("undefined", 0)
    for scale in SCALES:
        page = client.get(f"/runs/whole?scale={scale}").text
        assert f'aria-current="true">{SCALES[scale].title}' in page
        assert page.count("h1v1h-1z") == len(cells)
    assert client.get("/runs/whole?scale=other").status_code == 422


def test_hostile_words_of_a_pause_are_text(whole, client):
    hostile = "<script>alert(1)</script>\u202e\x1b[31m"
    with transaction(whole) as connection:
        connection.execute(text("UPDATE run SET state = 'running'"))
        runs.pause(connection, 1, "person", hostile)
    page = client.get("/runs/whole").text
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert "\u202e" not in page
    assert client.get("/runs/whole.json").json()["state"]["reason"] == hostile


ONE_MINUTE_OF_TIMEOUTS = """
    UPDATE call_minute SET outcome = 'timeout', calls = 1234, minute = date_trunc('minute', now())
    WHERE ctid = (SELECT ctid FROM call_minute WHERE stage = 'simulate' LIMIT 1)
"""


def test_requests_without_an_answer_stand_on_the_page_as_status_says_them(whole, client):
    assert client.get("/runs/whole.json").json()["unanswered"] == []
    assert "Requests without an answer" not in client.get("/runs/whole").text
    reason = "it is not complete after 0.5 s <b>"
    with transaction(whole) as connection:
        calls = [RetriedCalls("simulate", "here", "rehearsal", 3, reason)]
        replace_retried(connection, 1, "a", calls)
        connection.execute(text(ONE_MINUTE_OF_TIMEOUTS))
        status = status_of(connection, runs.get(connection, 1))
    (value,) = client.get("/runs/whole.json").json()["unanswered"]
    assert [value] == status["unanswered"]
    assert (value["requests"], value["retried"]) == ({"timeout": 1234}, 3)
    page = client.get("/runs/whole").text
    for shown in ("1,234 timeout", "&lt;b&gt;", "raise endpoints.here.timeout_s, or lower"):
        assert shown in page
