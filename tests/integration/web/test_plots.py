"""Plots of a run that is stored: their values against its rows, and how they are kept."""

from xml.etree import ElementTree

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from web.app import make_app
from web.plots.catalog import PLOTS
from web.settings import WebSettings

AT = "/runs/whole/plots"


@pytest.fixture
def client(whole):
    with TestClient(make_app(WebSettings(engine=whole)), base_url="http://localhost") as client:
        yield client


def sql(engine, query):
    with engine.connect() as connection:
        return connection.execute(text(query)).one()


def test_the_page_shows_every_plot_light_and_dark(client):
    page = client.get(AT).text
    for plot in client.get(f"{AT}.json").json()["plots"]:
        for theme in ("", "?theme=dark"):
            address = f"{plot['address']}.svg{theme}"
            assert f'"{address}"' in page
            answer = client.get(address)
            assert answer.headers["content-type"] == "image/svg+xml"
            assert "script" not in answer.headers["content-security-policy"]
            ElementTree.fromstring(answer.content)
        assert client.get(f"{plot['address']}.json").status_code == 200


def test_values_are_those_of_the_rows(client, whole):
    n, mean = sql(whole, "SELECT count(score), avg(score) FROM score")
    bins = {each["kind"]: each for each in client.get(f"{AT}/scores.json").json()}
    assert (sum(bins["explanation"]["counts"]), bins["explanation"]["n"]) == (n, n)
    assert bins["explanation"]["mean"] == pytest.approx(mean)

    pairs = "score AS s JOIN baseline_score AS b USING (run_id, layer, neuron)"
    both = f"""SELECT count(*), count(*) FILTER (WHERE s.score > b.score) FROM {pairs}
        WHERE baseline = 'lookup' AND s.score IS NOT NULL AND b.score IS NOT NULL"""  # noqa: S608
    cells = client.get(f"{AT}/lookup.json").json()
    assert tuple(sum(cell[key] for cell in cells) for key in ("n", "n_above")) == sql(whole, both)

    sparse = client.get(f"{AT}/sparsity.json").json()
    assert sum(each["n"] for each in sparse) == n

    layers = client.get(f"{AT}/layers.json").json()
    means = (
        "SELECT avg(score), (SELECT count(DISTINCT layer) FROM score) FROM score WHERE layer = 3"
    )
    assert (layers["run"]["explanation"][-1], len(layers["layers"])) == pytest.approx(
        sql(whole, means)
    )
    assert len(layers["paper"]["lookup"]) == 48


def test_calibration_counts_each_token_of_the_scored_records_once(client, whole):
    found = client.get(f"{AT}/calibration.json").json()
    scored = "SELECT count(*) FROM score WHERE score IS NOT NULL"
    per_simulation = "SELECT sum(octet_length(expected_activations)) / 2 FROM simulation"
    with_score = f"""{per_simulation} JOIN score USING (run_id, layer, neuron)
        WHERE score IS NOT NULL"""
    assert found["neurons"] == sql(whole, scored)[0]
    assert sum(level["tokens"] for level in found["levels"]) == sql(whole, with_score)[0]
    for level in found["levels"]:
        assert 0 <= level["quartile_1"] <= level["quartile_3"] <= 10


def test_the_course_adds_up_to_what_was_paid_and_finished(client, whole):
    course = client.get(f"{AT}/course.json").json()
    paid = sum(each["usd"] for each in course["paid"])
    assert paid == pytest.approx(sql(whole, "SELECT sum(usd + wasted_usd) FROM spend")[0])
    done = sum(each["n"] for each in course["finished"] if each["stage"] == "score")
    assert done == sql(whole, "SELECT sum(done + failed) FROM progress WHERE stage = 'score'")[0]


def test_a_plot_that_the_browser_has_is_not_sent_again(client):
    first = client.get(f"{AT}/scores.svg")
    again = client.get(f"{AT}/scores.svg", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    dark = client.get(
        f"{AT}/scores.svg?theme=dark", headers={"If-None-Match": first.headers["etag"]}
    )
    assert dark.status_code == 200


def test_a_finished_run_is_drawn_once_and_again_when_its_state_changes(client, whole):
    first = client.get(f"{AT}/scores.json").json()
    with whole.begin() as connection:
        connection.execute(text("UPDATE listed_neuron SET score = NULL WHERE layer = 0"))
    assert client.get(f"{AT}/scores.json").json() == first
    with whole.begin() as connection:
        connection.execute(text("UPDATE run SET state = 'running', finished_at = NULL"))
    assert client.get(f"{AT}/scores.json").json() != first


def test_a_plot_that_is_not_there_is_said(client):
    assert ", ".join(PLOTS) in client.get(f"{AT}/pie.json").text
    assert client.get(f"{AT}/scores.svg?theme=pink").status_code == 422
    assert client.get("/runs/nowhere/plots/scores.svg").status_code == 404
