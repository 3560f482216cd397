"""Notes on neurons: written from the page, bounded, kept, and exported."""

import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from db import notes
from db.notes import NewNote, NoteRefused
from orchestrator.datasets.export import export


@pytest.fixture
def engine(whole):
    """A finished run in place of an empty database."""
    return whole


@pytest.fixture
def place(engine):
    """A neuron of it."""
    with engine.begin() as connection:
        return tuple(connection.execute(text("SELECT layer, neuron FROM neuron")).first())


@pytest.fixture
def address(place):
    return "/runs/whole/neurons/{}/{}".format(*place)


def send(client, address, **values):
    values.setdefault("csrf", client.app.state.csrf)
    return client.post(f"{address}/notes", data=values, follow_redirects=False)


def test_a_note_stands_on_the_page_in_its_json_and_in_the_export(
    client, engine, address, place, tmp_path
):
    said = "It fires on <b>numbers</b>\r\nonly"
    answer = send(client, address, flag="wrong", text=said, author="Ada")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{address}#notes")
    page = client.get(address).text
    assert "&lt;b&gt;numbers&lt;/b&gt;" in page and "<b>numbers" not in page
    (note,) = client.get(f"{address}.json").json()["notes"]
    kept = {"flag": "wrong", "text": said.replace("\r\n", "\n"), "author": "Ada"}
    assert {key: note[key] for key in kept} == kept
    export(engine, 1, "parquet", tmp_path / "out", 1)
    (row,) = pq.read_table(tmp_path / "out" / "notes").to_pylist()
    assert {key: row[key] for key in kept} == kept
    assert (row["layer"], row["neuron"]) == place


def test_what_comes_from_elsewhere_is_not_stored(client, address):
    assert send(client, address, text="x", csrf="wrong").status_code == 403
    elsewhere = {"Origin": "http://evil.example"}
    data = {"text": "x", "csrf": client.app.state.csrf}
    assert client.post(f"{address}/notes", data=data, headers=elsewhere).status_code == 403
    assert client.get(f"{address}.json").json()["notes"] == []


@pytest.mark.parametrize(
    "values",
    [{}, {"text": "  "}, {"flag": "bad"}, {"text": "x" * 2001}, {"text": "x", "author": "y" * 101}],
)
def test_what_is_empty_unknown_or_too_long_is_refused(client, address, values):
    assert send(client, address, **values).status_code == 422
    assert client.get(f"{address}.json").json()["notes"] == []


def test_notes_are_bounded_by_the_minute_and_by_the_neuron(engine, place):
    note = NewNote(run_id=1, layer=place[0], neuron=place[1], flag="right")
    with engine.begin() as connection:
        for _ in range(notes.MOST_PER_MINUTE):
            notes.add(connection, note)
        with pytest.raises(NoteRefused, match="wait a minute"):
            notes.add(connection, note)
        earlier = text("UPDATE neuron_note SET created_at = created_at - interval '1 hour'")
        for _ in range(notes.MOST_NOTES // notes.MOST_PER_MINUTE):
            connection.execute(earlier)
            for _ in range(min(notes.MOST_PER_MINUTE, notes.MOST_NOTES - _stored(connection))):
                notes.add(connection, note)
        connection.execute(earlier)
        with pytest.raises(NoteRefused, match="already"):
            notes.add(connection, note)


def _stored(connection):
    return connection.scalar(text("SELECT count(*) FROM neuron_note"))
