"""The page for queries: what is returned as page, JSON and CSV, and what is refused."""

import csv
import io

import pytest
from fastapi.testclient import TestClient

from db.saved_queries import saved_queries
from web.app import make_app
from web.pages.sql import ASK_HERE, NO_READER
from web.settings import WebSettings

HOSTILE = "\u202e<script>alert(1)</script>\x1b[2J"


@pytest.fixture
def client(engine):
    settings = WebSettings(engine=engine, reader=engine)
    with TestClient(make_app(settings), base_url="http://localhost") as client:
        yield client


def ask(client, query, face="", **options):
    return client.get(f"/sql{face}", params={"query": query, **options})


def test_one_value_as_page_json_and_csv(client):
    query = "SELECT 7 AS n, NULL AS nothing, '\\x00ff'::bytea AS bytes, 'a,b' AS text"
    page = ask(client, query).text
    assert ">NULL</i>" in page and r">\x00ff<" in page and "1 row " in page
    found = ask(client, query, ".json").json()["result"]
    assert found["columns"] == ["n", "nothing", "bytes", "text"]
    assert (found["rows"], found["is_cut"]) == ([[7, None, "00ff", "a,b"]], False)
    lines = list(csv.reader(io.StringIO(ask(client, query, ".csv").text)))
    assert lines[1] == ["7", "", r"\x00ff", "a,b"]


def test_rows_are_bounded_and_more_are_said(client):
    query = "SELECT i, repeat('x', 500) FROM generate_series(1, 100000) AS i"
    assert len(ask(client, query, ".json", limit=50).json()["result"]["rows"]) == 50
    page = ask(client, query, limit=10_000).text
    assert "10,000 rows, and there are more" in page.replace("\n", "")
    assert len(page) < 150_000
    assert ask(client, query, limit=10_001).status_code == 422


def test_a_value_of_any_size_is_cut_and_its_size_is_said(client):
    query = "SELECT repeat('x', 300000000) AS long, 1 AS n"
    assert "… (300,000,000)" in ask(client, query).text
    ((long, n),) = ask(client, query, ".json").json()["result"]["rows"]
    assert (len(long) < 70_000, long[-30:], n) == (True, "(cut: 300,000,000 bytes in all)"[-30:], 1)
    assert len(ask(client, query, ".csv").text) < 70_000


def test_hostile_text_is_shown_as_what_it_is(client):
    quoted = HOSTILE.replace("'", "''")
    page = ask(client, f"SELECT '{quoted}' AS \"{HOSTILE}\"").text
    assert "<script>alert" not in page and page.count("U+202E") == 2
    assert "\u202e" not in page.partition("<h2")[2].partition("Saved queries")[0]


def test_an_error_of_a_query_is_on_the_page(client):
    assert "character 15" in ask(client, "SELECT * FROM nowhere").text
    answer = ask(client, "SELECT * FROM nowhere", ".csv")
    assert (answer.status_code, "nowhere" in answer.text) == (422, True)


def test_a_query_from_another_site_waits_for_a_person(client):
    answer = client.get(
        "/sql.json", params={"query": "SELECT 1"}, headers={"Sec-Fetch-Site": "cross-site"}
    ).json()
    assert (answer["result"], answer["problem"]) == (None, ASK_HERE)


def test_without_a_user_who_can_only_read_nothing_is_run(engine):
    app = make_app(WebSettings(engine=engine))
    with TestClient(app, base_url="http://localhost") as client:
        answer = ask(client, "SELECT 1", ".json").json()
    assert (answer["result"], answer["problem"]) == (None, NO_READER)


def test_saved_queries_are_about_the_run_and_are_answered(whole):
    settings = WebSettings(engine=whole, reader=whole)
    with TestClient(make_app(settings), base_url="http://localhost") as client:
        value = client.get("/sql.json").json()
        assert (value["run"], len(value["saved"])) == ("whole", len(saved_queries()))
        for saved in value["saved"]:
            assert ask(client, saved["sql"], ".json").json()["problem"] is None, saved["title"]
