"""The list of neurons: the same query as HTML, JSON and CSV, a page at a time."""

import csv
import io
import re
from functools import partial
from itertools import chain

import pytest
from sqlalchemy import text

from db import neuron_list

LIST = "/runs/whole/neurons"


@pytest.fixture
def engine(whole):
    """A finished run of which some neurons failed, in place of an empty database."""
    return whole


def places(engine, where="true", order="layer, neuron"):
    """Return the neurons of the view neuron_summary as the addresses of their pages end."""
    query = f"SELECT layer, neuron FROM neuron_summary WHERE {where} ORDER BY {order}"  # noqa: S608
    with engine.begin() as connection:
        return [f"{layer}/{neuron}" for layer, neuron in connection.execute(text(query))]


def shown(client, query=""):
    """Return the neurons that the page, its JSON and its CSV list, which are the same."""
    page = client.get(f"{LIST}{query}")
    assert page.status_code == 200
    listed = re.findall(r'<th scope="row"><a href="/runs/whole/neurons/(\d+/\d+)">', page.text)
    value = client.get(f"{LIST}.json{query}").json()
    assert listed == [f"{one['layer']}/{one['neuron']}" for one in value["neurons"]]
    rows = csv.DictReader(io.StringIO(client.get(f"{LIST}.csv{query}").text))
    assert listed == [f"{row['layer']}/{row['neuron']}" for row in rows][:50]
    assert value["count"] == len(listed)
    return listed


FILTERS = {
    "": "true",
    "?layer=3": "layer = 3",
    "?layer=": "true",
    "?layer=0&layer=3&state=scored": "state = 'scored'",
    "?state=failed": "state = 'failed'",
    "?score_min=0.1&score_max=0.4": "score BETWEEN 0.1 AND 0.4",
    "?score_top_min=&score_top_max=0": "score_top <= 0",
    "?max_activation_min=1": "max_activation >= 1",
    "?usd_max=0.003": "usd <= 0.003",
    "?words=rehearsal": "explanation LIKE '%rehearsal%'",
}


@pytest.mark.parametrize("query", FILTERS)
def test_filters_choose_what_sql_chooses(client, engine, query):
    assert shown(client, query) == places(engine, FILTERS[query])


@pytest.mark.parametrize("sort", ["score", "score_random", "max_activation"])
def test_lists_are_sorted_both_ways(client, engine, sort):
    there = f"{sort} IS NOT NULL"
    assert shown(client, f"?sort={sort}") == places(engine, there, f"{sort}, layer, neuron")
    backwards = f"{sort} DESC, layer DESC, neuron DESC"
    assert shown(client, f"?sort={sort}&desc=true") == places(engine, there, backwards)


def test_pages_follow_one_another_and_go_back(client, engine, monkeypatch):
    of_ten = partial(neuron_list.neuron_page, size=10)
    monkeypatch.setattr(neuron_list, "neuron_page", of_ten)
    visited, address = [], f"{LIST}.json?sort=score"
    while address:
        value = client.get(address).json()
        visited.append([f"{one['layer']}/{one['neuron']}" for one in value["neurons"]])
        address = value["next"] and f"{LIST}.json?sort=score&cursor={value['next']}"
    every = places(engine, "score IS NOT NULL", "score, layer, neuron")
    assert list(chain(*visited)) == every
    assert len(visited[0]) == 10
    back = client.get(f"{LIST}.json?sort=score&cursor={value['previous']}").json()["neurons"]
    assert [f"{one['layer']}/{one['neuron']}" for one in back] == visited[-2]


def test_links_keep_what_was_asked_for(client):
    page = client.get(f"{LIST}?layer=3&words=rehearsal&sort=score").text
    assert 'href="?layer=3&amp;words=rehearsal&amp;sort=score&amp;desc=true"' in page
    assert "neurons.csv?layer=3&amp;words=rehearsal&amp;sort=score" in page


def test_a_list_of_nothing_says_what_to_do(client):
    assert "widen what you ask for" in client.get(f"{LIST}?score_min=2").text


@pytest.mark.parametrize(
    "query", ["cursor=nonsense", "sort=text", "score_min=nan", "layer=-1", "state=x", "desc=2"]
)
def test_what_cannot_be_asked_is_refused_in_words(client, query):
    answer = client.get(f"{LIST}?{query}")
    assert answer.status_code == 422
    assert "<h1>" in answer.text


def test_hostile_explanations_are_shown_and_do_nothing(client, engine):
    hostile = "<img src=x onerror=alert(1)>\u202e\u200b" + "x" * 10_000
    with engine.begin() as connection:
        connection.execute(text("UPDATE explanation SET text = :text"), {"text": hostile})
    page = client.get(LIST).text
    assert "&lt;img src=x" in page and "<img" not in page
    assert not set("\u202e\u200b") & set(page)
    assert len(page) < 150_000
