"""Who may ask, and what a browser may do with the answer."""

import base64

import pytest
from fastapi.testclient import TestClient

from db.session import make_engine
from tests.support.databases import url_of
from web.app import make_app
from web.settings import WebSettings

TOKEN = "a token of the tests"


def basic(password):
    return "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", ""])
def test_a_name_that_is_not_ours_is_refused(client, host):
    assert client.get("/", headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8200", "[::1]:8200"])
def test_loopback_is_answered_on_any_port(client, host):
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/nowhere", "/static/style.css", "/runs.json"])
def test_every_answer_forbids_inline_scripts_and_frames(client, path):
    policy = client.get(path).headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy and "'unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("shown", [None, "Bearer wrong", basic("wrong"), "Basic %%%", "Bearer", ""])
@pytest.mark.parametrize("path", ["/", "/static/style.css", "/openapi.json"])
def test_a_server_with_a_token_answers_nobody_else(client_of, shown, path):
    headers = {} if shown is None else {"Authorization": shown}
    answer = client_of(token=TOKEN).get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic")
    assert TOKEN not in answer.text


@pytest.mark.parametrize("shown", [f"Bearer {TOKEN}", basic(TOKEN)])
def test_the_token_opens_as_bearer_and_as_password(client_of, shown):
    assert client_of(token=TOKEN).get("/", headers={"Authorization": shown}).status_code == 200


def test_a_token_is_in_no_description_of_the_settings(client_of):
    assert TOKEN not in repr(client_of(token=TOKEN).app.state.settings)


def test_what_is_not_there_is_said_in_the_form_that_was_asked_for(client):
    page = client.get("/nowhere")
    assert page.status_code == 404 and "<h1>" in page.text
    found = client.get("/nowhere.json")
    assert found.status_code == 404
    assert found.json()["sentence"] == "There is no such page."


def test_accept_and_suffix_bring_the_same_value(client):
    by_suffix = client.get("/runs.json").json()
    assert client.get("/", headers={"Accept": "application/json"}).json() == by_suffix


def test_pages_can_be_asked_for_by_reading_methods_only(client):
    assert client.post("/").status_code == 405
    assert client.delete("/runs.json").status_code == 405


def test_the_description_names_every_json_address(client):
    assert "/runs.json" in client.get("/openapi.json").json()["paths"]


def test_health_is_that_of_the_database(client):
    assert client.get("/health").json() == {"database": "reachable"}


def test_a_database_that_is_away_is_said(services):
    gone = make_engine(url_of(services, "there_is_no_such_database"))
    with TestClient(make_app(WebSettings(engine=gone)), base_url="http://localhost") as client:
        answer = client.get("/health")
    assert answer.status_code == 503
    assert "The database cannot be reached." in answer.text
