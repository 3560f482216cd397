"""The page of a call: what is stored of it, and who uses it."""

import pytest
from sqlalchemy import text

from db import runs
from neurogloss.llm.calls import Call
from orchestrator.sent import SentBodies

USED = """
    SELECT encode(call.identity, 'hex') AS identity, call.text, layer, neuron, call.prompt_tokens
    FROM explanation JOIN call ON call.identity = explanation.call ORDER BY layer, neuron LIMIT 1
"""


@pytest.fixture
def engine(whole):
    """A finished run with calls, in place of an empty database."""
    return whole


@pytest.fixture
def used(engine):
    """A call that an explanation was read from."""
    with engine.begin() as connection:
        return connection.execute(text(USED)).one()


def test_a_call_is_shown_with_the_neuron_that_uses_it(client, used):
    neuron = client.get(f"/runs/whole/neurons/{used.layer}/{used.neuron}").text
    assert f"/runs/whole/calls/{used.identity}" in neuron
    value = client.get(f"/runs/whole/calls/{used.identity}.json").json()
    assert (value["text"], value["prompt_tokens"]) == (used.text, used.prompt_tokens)
    assert ["whole", used.layer, used.neuron, "explanation", None] in value["uses"]
    page = client.get(f"/runs/whole/calls/{used.identity}").text
    assert f'href="/runs/whole/neurons/{used.layer}/{used.neuron}"' in page


def test_hostile_answers_are_shown_and_do_nothing(client, engine, used):
    hostile = "</pre><script>alert(1)</script>\u202e" + "x" * 20_000
    with engine.begin() as connection:
        connection.execute(text("UPDATE call SET text = :t, refusal = :t"), {"t": hostile})
    page = client.get(f"/runs/whole/calls/{used.identity}").text
    assert "&lt;script&gt;alert" in page and "<script>alert" not in page
    assert "\u202e" not in page


@pytest.mark.parametrize(("identity", "status"), [("0" * 64, 404), ("nonsense", 422)])
def test_what_is_no_call_is_said(client, identity, status):
    assert client.get(f"/runs/whole/calls/{identity}").status_code == status


def test_the_command_writes_the_file_of_a_neuron(command, client, used, tmp_path):
    path = tmp_path / "neuron.html"
    code, output = command(
        "neuron", str(used.layer), str(used.neuron), "--run", "whole", "--html", str(path)
    )
    assert (code, str(path) in output) == (0, True)
    assert "Real against simulated" in path.read_text(encoding="utf-8")
    code, output = command("neuron", "0", "1", "--html", str(tmp_path / "no" / "x.html"))
    assert code == 2, output


@pytest.mark.parametrize("table", ["explanation", "simulation"])
def test_what_was_sent_is_found_again_to_the_byte(client_of, engine, table):
    query = f"SELECT DISTINCT encode(call, 'hex') FROM {table} WHERE call IS NOT NULL LIMIT 4"  # noqa: S608
    with engine.begin() as connection:
        identities = connection.scalars(text(query)).all()
        url = runs.get(connection, 1).config["endpoints"]["here"]["base_url"]
    client = client_of(sent_body=SentBodies(engine))
    for identity in identities:
        sent = client.get(f"/runs/whole/calls/{identity}.json").json()["sent"]
        found = (Call("", "", {**sent}, again=again) for again in (0, 1))
        assert identity in {call.identity(url).hex() for call in found}
        assert sent["messages"][-1]["role"] == "user"
