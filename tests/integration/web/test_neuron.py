"""The page of a neuron: what stands on it is what is stored, and every state has its sentence."""

import html
import json
import re

import numpy as np
import pytest
from sqlalchemy import text

from db.codec import FLOAT16
from orchestrator.datasets.export import export
from orchestrator.datasets.one_neuron import neuron_as

SCORED = "SELECT layer, neuron FROM score WHERE score IS NOT NULL ORDER BY 1, 2 LIMIT 6"
HOSTILE = "<script>alert(1)</script> \u202egnp\u200b \x1b[31m " + "x" * 10_000
MOST_BYTES = 150_000


@pytest.fixture
def engine(whole):
    """A finished run of which some neurons failed, in place of an empty database."""
    return whole


def rows(engine, query, **values):
    with engine.begin() as connection:
        result = connection.execute(text(query), values)
        return result.all() if result.returns_rows else []


def address(layer, neuron, end=""):
    return f"/runs/whole/neurons/{layer}/{neuron}{end}"


def shown_numbers(page):
    """Return, by excerpt, what the page says of each token: (real, simulated)."""
    sections = re.findall(r'<section class="record" id="excerpt-(\d+)".*?</section>', page, re.S)
    bodies = re.findall(r'<section class="record".*?</section>', page, re.S)
    number = r'title="real ([-\d.,]+), simulated ([-\d.,]+)"'
    return {
        int(excerpt): [
            (float(a), float(b)) if b != "-" else (float(a), None)
            for a, b in re.findall(number, body)
        ]
        for excerpt, body in zip(sections, bodies, strict=True)
    }


def test_real_and_simulated_numbers_are_those_in_the_database(client, engine):
    for layer, neuron in rows(engine, SCORED):
        shown = shown_numbers(client.get(address(layer, neuron)).text)
        stored = rows(
            engine,
            "SELECT excerpt, expected_activations FROM simulation"
            " WHERE layer = :layer AND neuron = :neuron",
            layer=layer,
            neuron=neuron,
        )
        assert shown.keys() == {excerpt for excerpt, _ in stored}
        (records,) = rows(
            engine,
            "SELECT excerpts, activations FROM neuron_records"
            " WHERE layer = :layer AND neuron = :neuron",
            layer=layer,
            neuron=neuron,
        )
        real = FLOAT16.unpack(records.activations).reshape(len(records.excerpts), -1)
        for excerpt, expected in stored:
            of_record = real[records.excerpts.index(excerpt)]
            np.testing.assert_allclose(
                shown[excerpt], np.stack([of_record, FLOAT16.unpack(expected)], 1), atol=0.00501
            )


def test_records_stand_in_the_order_of_how_wrong_they_are(client, engine):
    layer, neuron = rows(engine, SCORED)[0]
    value = client.get(address(layer, neuron, ".json")).json()
    errors = [record["error"] for record in value["scored_records"]]
    assert errors == sorted(errors, reverse=True)
    assert len({record["excerpt"] for record in value["scored_records"]}) == len(errors)


def test_json_is_what_the_command_prints(client, engine, command):
    layer, neuron = rows(engine, SCORED)[0]
    code, output = command("neuron", str(layer), str(neuron), "--run", "whole", "--json")
    assert code == 0, output
    printed, shown = json.loads(output), client.get(address(layer, neuron, ".json")).json()
    assert printed.keys() == shown.keys()
    shared = printed.keys() - {"records"}  # of which each is asked for others
    assert {key: printed[key] for key in shared} == {key: shown[key] for key in shared}


@pytest.mark.parametrize("query", ["", "?kind=random&form=stacked", "?kind=bucket&form=full"])
def test_a_page_is_small_in_every_form(client, engine, query):
    layer, neuron = rows(engine, SCORED)[0]
    answer = client.get(address(layer, neuron, query))
    assert answer.status_code == 200
    assert len(answer.content) < MOST_BYTES


def test_all_numbers_of_a_record_can_be_read_without_a_script(client, engine):
    layer, neuron = rows(engine, SCORED)[0]
    (excerpt, *_) = shown_numbers(client.get(address(layer, neuron)).text)
    page = client.get(address(layer, neuron, f"?numbers={excerpt}")).text
    assert page.count('<th scope="row"><code>') == 16  # tokens of an excerpt


def test_a_failed_neuron_says_why_and_how_to_try_again(client, engine):
    failed = "SELECT layer, neuron, stage, failure_class FROM failure LIMIT 1"
    ((layer, neuron, stage, name),) = rows(engine, failed)
    page = client.get(address(layer, neuron)).text
    assert f"neurogloss retry whole --stage {stage} --class {name} --layer {layer}" in page


STATES = {
    "undefined": ("UPDATE score SET score = NULL, undefined_reason = 'constant_simulation'",),
    "explained": ("DELETE FROM score",),
    "collected": ("DELETE FROM score", "DELETE FROM simulation", "DELETE FROM explanation"),
    "waiting": (
        *("DELETE FROM score", "DELETE FROM simulation", "DELETE FROM explanation"),
        "DELETE FROM neuron_records",
    ),
}
SAID = {
    "undefined": "says nothing about these records",
    "explained": "waits for its simulation and score",
    "collected": "waits for an explanation",
    "waiting": "waits to be collected",
}


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_a_page_that_says_what_it_is(client, engine, state):
    layer, neuron = rows(engine, SCORED)[0]
    for statement in STATES[state]:
        rows(engine, f"{statement} WHERE (layer, neuron) = (:l, :n)", l=layer, n=neuron)
    answer = client.get(address(layer, neuron))
    assert answer.status_code == 200
    assert f'<span class="state {state}">' in answer.text
    assert SAID[state] in answer.text


def test_what_is_not_simulated_says_so(client, engine):
    layer, neuron = rows(engine, SCORED)[0]
    rows(engine, "DELETE FROM simulation WHERE (layer, neuron) = (:l, :n)", l=layer, n=neuron)
    assert "There is no simulation of this record" in client.get(address(layer, neuron)).text


@pytest.mark.parametrize("end", ["", ".html"])
def test_hostile_text_is_shown_and_does_nothing(client, engine, end):
    layer, neuron = rows(engine, SCORED)[0]
    rows(engine, "UPDATE explanation SET text = :text", text=HOSTILE)
    rows(engine, "UPDATE token SET text = :text WHERE token < 20000", text=HOSTILE[:60])
    page = client.get(address(layer, neuron, end)).text
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert not set("\u202e\u200b\x1b") & set(page)


def test_the_file_of_a_neuron_asks_for_nothing(client, engine):
    layer, neuron = rows(engine, SCORED)[0]
    answer = client.get(address(layer, neuron, ".html"))
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert not re.findall(r"(?:src|href)=", answer.text)
    assert shown_numbers(answer.text) == shown_numbers(client.get(address(layer, neuron)).text)


def test_neurons_lead_to_one_another(client, engine):
    every = rows(engine, "SELECT layer, neuron FROM neuron ORDER BY 1, 2")
    visited, place = [], {"layer": every[0][0], "neuron": every[0][1]}
    while place:
        visited.append((place["layer"], place["neuron"]))
        place = client.get(address(*visited[-1], ".json")).json()["next"]
    assert visited == every


def test_a_neuron_by_chance_lies_in_the_band(client, engine):
    ((score,),) = rows(engine, "SELECT max(score) FROM score")
    band = f"?low={score - 1e-6}&high={min(1.0, score + 1e-6)}"
    answer = client.get(f"/runs/whole/neurons/random{band}", follow_redirects=False)
    assert answer.status_code == 303
    place = tuple(map(int, re.findall(r"/(\d+)/(\d+)", answer.headers["Location"])[0]))
    assert place in rows(engine, "SELECT layer, neuron FROM score WHERE score = :s", s=score)
    assert client.get("/runs/whole/neurons/random").status_code == 200
    assert client.get("/runs/whole/neurons/random?low=-1&high=-0.999").status_code == 404


def test_addresses_of_nothing_say_so(client):
    for path in (address(0, 10**6), "/runs/nobody/neurons/0/1", address(10**6, 0)):
        answer = client.get(path)
        assert answer.status_code in (404, 422)
        assert "<h1>" in html.unescape(answer.text)


def test_a_neuron_is_exported_as_a_whole_export_writes_it(client_of, engine, tmp_path):
    layer, neuron = rows(engine, SCORED)[0]
    client = client_of(neuron_as=neuron_as)
    assert address(layer, neuron, "/export/openai") in client.get(address(layer, neuron)).text
    export(engine, 1, "openai", tmp_path / "out", 1)
    found = client.get(address(layer, neuron, "/export/openai")).json()
    for path, value in found.items():
        assert json.loads((tmp_path / "out" / path).read_bytes()) == value
    assert f"explanations/{layer}/{neuron}.jsonl" in found
    lines = client.get(address(layer, neuron, "/export/neuronpedia")).json()
    assert lines["features"][0]["index"] == str(neuron)


def test_a_neuron_without_records_has_no_export(client_of, engine):
    layer, neuron = rows(engine, SCORED)[0]
    rows(engine, "DELETE FROM neuron_records")
    client = client_of(neuron_as=neuron_as)
    assert client.get(address(layer, neuron, "/export/openai")).status_code == 404
