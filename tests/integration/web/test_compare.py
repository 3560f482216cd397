"""Two runs on a page: the values of the command, and what is said where there is nothing."""

import json
from xml.etree import ElementTree

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from web.app import make_app
from web.plots.comparison import DRAWINGS
from web.settings import WebSettings

HOSTILE = "\u202e<script>alert(1)</script>"
PAGE = "/compare/whole/other%24"


@pytest.fixture
def two(whole):
    """A database with a second run, whose scores are half of the first one's."""
    with whole.begin() as connection:
        other = """'{"id": 99, "name": "other$"}'"""
        connection.execute(text(f"INSERT INTO run {_copied('run', other)}"))
        for table in ("neuron", "explanation", "score"):
            copied = _copied(table, """'{"run_id": 99}'""")
            connection.execute(text(f"INSERT INTO {table} {copied}"))
        connection.execute(text("UPDATE score SET score = score / 2 WHERE run_id = 99"))
        update = text("UPDATE explanation SET text = :text WHERE run_id = 99")
        connection.execute(update, {"text": HOSTILE})
    return whole


def _copied(table, changes):
    where = "WHERE id = 1" if table == "run" else "WHERE run_id = 1"
    return f"SELECT (jsonb_populate_record(old, {changes})).* FROM {table} AS old {where}"  # noqa: S608


@pytest.fixture
def client(two):
    with TestClient(make_app(WebSettings(engine=two)), base_url="http://localhost") as client:
        yield client


def test_the_page_says_what_the_command_says(client, command):
    code, output = command("compare", "whole", "other$", "--json", "--limit", "20")
    report = client.get(f"{PAGE}.json").json()["report"]
    assert (code, json.loads(output)) == (0, report)
    page = client.get(PAGE).text
    for pair in report["furthest_apart"]:
        assert f'/runs/whole/neurons/{pair["layer"]}/{pair["neuron"]}"' in page
        assert f'/runs/other%24/neurons/{pair["layer"]}/{pair["neuron"]}"' in page
    assert f"{report['summary']['difference']:+.3f}" in page
    assert "<script>alert" not in page and "U+202E" in page


def test_its_plots_are_drawn_light_and_dark(client):
    for plot in client.get(f"{PAGE}.json").json()["plots"]:
        light, dark = (client.get(f"{plot['address']}.svg?theme={t}") for t in ("light", "dark"))
        ElementTree.fromstring(light.content)
        assert light.content != dark.content
        again = client.get(
            f"{plot['address']}.svg", headers={"If-None-Match": light.headers["etag"]}
        )
        assert again.status_code == 304
    assert ", ".join(d.name for d in DRAWINGS) in client.get(f"{PAGE}/pie.svg").text


def test_runs_lead_to_their_comparison_and_a_form_to_any(client):
    assert 'href="/compare/other%24/whole"' in client.get("/").text
    assert client.get("/compare.json").json() == {"runs": ["other$", "whole"]}
    assert "<option selected>other$</option>" in client.get("/compare").text
    answer = client.get("/compare/chosen?a=other$&b=a/b", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/compare/other%24/a%2Fb")
    assert client.get("/compare/whole/nobody").status_code == 404


def test_runs_without_common_scores_say_so(client, two):
    with two.begin() as connection:
        connection.execute(text("UPDATE score SET score = NULL WHERE run_id = 99"))
    assert "none has a score in both yet" in client.get(PAGE).text
    assert "No neuron has a score in both" in client.get(f"{PAGE}/scores.svg").text
    with two.begin() as connection:
        connection.execute(text("DELETE FROM neuron WHERE run_id = 99"))
        connection.execute(text("UPDATE run SET state = 'cancelled' WHERE id = 99"))
    assert "share no neuron" in client.get(PAGE).text
