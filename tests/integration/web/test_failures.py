"""The failures of a real run on their page."""

import time

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from db.session import transaction
from web.app import make_app
from web.settings import WebSettings


@pytest.fixture
def client(whole):
    app = make_app(WebSettings(engine=whole))
    with TestClient(app, base_url="http://localhost") as client:
        yield client
    app.state.watched.close()


def counted(client):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        value = client.get("/runs/whole/failures.json").json()
        if value["failures"] is not None:
            return value["failures"]
        time.sleep(0.05)
    raise AssertionError("failures were not counted")


def test_every_failure_is_in_a_class_and_in_its_time(whole, client):
    with transaction(whole) as connection:
        stored = connection.execute(
            text("SELECT stage, failure_class, count(*) FROM failure GROUP BY 1, 2")
        )
        expected = {(stage, name): n for stage, name, n in stored}
    found = counted(client)
    classes = {
        (c["failures"]["stage"], c["failures"]["failure_class"]): c for c in found["classes"]
    }
    assert {key: c["failures"]["n"] for key, c in classes.items()} == expected
    for key, shown in classes.items():
        assert sum(count["n"] for count in shown["over_time"]) == expected[key]
        assert {count["start"] for count in shown["over_time"]} <= set(found["spans"])
        assert 1 <= len(shown["failures"]["examples"]) <= 3


def test_the_page_names_the_command_and_its_messages_are_text(whole, client):
    with transaction(whole) as connection:
        connection.execute(text("UPDATE failure SET message = '<b>bold</b>' || chr(8238)"))
    counted(client)
    page = client.get("/runs/whole/failures").text
    assert "neurogloss retry whole --stage" in page
    assert "<form" not in page  # this server only reads
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "<b>bold" not in page
    assert "\u202e" not in page


def test_the_page_of_a_run_without_failures_says_so(whole, client):
    with transaction(whole) as connection:
        connection.execute(text("DELETE FROM failure"))
    assert counted(client)["classes"] == []
    assert "No neuron has failed" in client.get("/runs/whole/failures").text
