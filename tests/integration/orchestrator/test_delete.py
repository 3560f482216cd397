"""Deleting a run: all of it, and nothing that another run needs."""

import json

import pytest
from sqlalchemy import text

from db.tables.schema import METADATA


def rows_of(engine, run_id):
    """Return the tables that have rows of a run."""
    tables = [table.name for table in METADATA.sorted_tables if "run_id" in table.c]
    with engine.connect() as connection:
        return [
            name
            for name in tables
            if connection.scalar(text(f"SELECT count(*) FROM {name} WHERE run_id = {run_id}"))  # noqa: S608
        ]


def one(engine, query):
    with engine.connect() as connection:
        return connection.scalar(text(query))


def copied_run(engine):
    """Store a second run with the same neurons, and return its id."""
    columns = [column.name for column in METADATA.tables["run"].c]
    names = ", ".join(name for name in columns if name not in ("id", "name"))
    copy = f"INSERT INTO run (name, {names}) SELECT 'second', {names} FROM run RETURNING id"  # noqa: S608
    neurons = "INSERT INTO neuron SELECT :run, layer, neuron, is_ablated FROM neuron"
    with engine.begin() as connection:
        run_id = connection.scalar(text(copy))
        connection.execute(text(neurons), {"run": run_id})
    return run_id


def test_a_run_is_deleted_with_its_answers_and_its_corpus(command, whole):
    assert len(rows_of(whole, 1)) > 10
    answers = one(whole, "SELECT count(*) FROM call")
    code, output = command("delete", "whole", "--yes", "--json")
    assert code == 0, output
    deleted = json.loads(output[output.index("{") :])
    assert (deleted["run"], deleted["answers"], deleted["corpus"]) == ("whole", answers, True)
    assert rows_of(whole, 1) == []
    for table in ("run", "corpus", "excerpt", "vocabulary", "token"):
        assert one(whole, f"SELECT count(*) FROM {table}") == 0, table  # noqa: S608
    assert command("runs", "--json")[0] == 0


def test_what_another_run_has_stays(command, whole):
    second = copied_run(whole)
    code, output = command("delete", "whole", "--yes")
    assert code == 0, output
    assert "its corpus" not in output
    assert rows_of(whole, second) == ["neuron"]
    assert one(whole, "SELECT count(*) FROM excerpt") > 0


def test_a_run_whose_answers_another_one_uses_is_not_deleted(command, whole):
    second = copied_run(whole)
    before = rows_of(whole, 1)
    reuse = """
        INSERT INTO explanation (run_id, layer, neuron, text, explainer, call)
        SELECT :run, layer, neuron, text, explainer, call FROM explanation LIMIT 1
    """
    with whole.begin() as connection:
        connection.execute(text(reuse), {"run": second})
    code, output = command("delete", "whole", "--yes")
    assert code == 2
    assert "run 'whole' is needed by second" in output
    assert rows_of(whole, 1) == before


@pytest.mark.parametrize("state", ["running", "paused"])
def test_a_run_that_goes_on_is_not_deleted(command, whole, state):
    with whole.begin() as connection:
        connection.execute(text("UPDATE run SET state = :state"), {"state": state})
    code, output = command("delete", "whole", "--yes")
    assert code == 2
    assert f"run 'whole' is {state}: end it by `neurogloss cancel`" in output


def test_nobody_is_there_to_ask(command, whole):
    code, output = command("delete", "whole")
    assert (code, "--yes is needed" in output) == (2, True)
    assert one(whole, "SELECT count(*) FROM run") == 1


def test_there_is_no_such_run(command):
    code, output = command("delete", "nowhere", "--yes")
    assert (code, "there is no run 'nowhere'" in output) == (2, True)
