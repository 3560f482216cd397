"""A database of before: it is restored, read and verified, and its runs go on to their end."""

import pytest
from sqlalchemy import text

from tests.golden.exported import described_export
from tests.golden.project import FaultRates
from tests.golden.stored import BACKUP, DONE, HALF, IMPORTED, READING, WHOLE, N
from tests.golden.world import command_line, rehearsal_server

STORED_TIMES = ("first_at", "last_at", "last_result_at", "created_at")
OF_NOW = ("eta", "eta_low", "eta_high", "per_minute", "per_minute_15", "per_minute_60")


@pytest.fixture(scope="module")
def restored():
    """A command line whose database is the backup."""
    with command_line() as cli:
        code, output = cli.run("restore", str(BACKUP))
        assert code == 0, output
        yield cli


def test_status_says_of_each_run_what_it_said(restored, pinned):
    found = {name: restored.json("status", name) for name in (WHOLE, HALF, READING, IMPORTED)}
    pinned.check("backup/status.json", _timeless(found))


def _timeless(value):
    """Return a value without what the clock says; of stored times, whether there is one."""
    if isinstance(value, list):
        return [_timeless(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: "a time" if key in STORED_TIMES and item is not None else _timeless(item)
        for key, item in value.items()
        if key not in OF_NOW
    }


def test_neurons_are_shown_as_they_were(restored, pinned):
    """What is shown is stored, whatever CPU has computed it."""
    query = "SELECT layer, neuron FROM neuron_summary WHERE run = '{}' ORDER BY 1, 2 LIMIT {}"
    shown = {}
    for name, count in ((WHOLE, 3), (IMPORTED, 1)):
        for row in restored.rows(query.format(name, count)):
            place = str(row["layer"]), str(row["neuron"])
            page = restored.json("neuron", *place, "--run", name)
            shown[f"{name} {' '.join(place)}"] = _timeless(page)
    pinned.check("backup/neurons.json", shown)


@pytest.mark.parametrize("name", [WHOLE, HALF, READING, IMPORTED])
def test_there_is_no_difference_in_what_is_stored(restored, name):
    """Scores are recomputed to the bit, but from stored float16 numbers: on any CPU."""
    code, output = restored.here("verify", name)
    assert code == 0, output


def test_verify_exits_with_1_where_there_is_a_difference(restored):
    change = text(
        "UPDATE spend SET calls = calls + :n FROM run WHERE run.id = run_id AND name = 'whole'"
    )
    with restored.database() as connection:
        assert connection.execute(change, {"n": 1}).rowcount > 0
    code, output = restored.here("verify", WHOLE)
    with restored.database() as connection:
        connection.execute(change, {"n": -1})
    assert (code, "spend" in output) == (1, True), output


@pytest.mark.parametrize(
    ("name", "kind"), [(WHOLE, "openai"), (WHOLE, "parquet"), (IMPORTED, "openai")]
)
def test_what_is_restored_is_exported_as_it_was(restored, pinned, tmp_path, name, kind):
    arguments = ("export", name, "--format", kind, "--to", str(tmp_path), "--processes", "1")
    code, output = restored.here(*arguments)
    assert code == 0, output
    # Not as if it had just been imported: of that time, published scores are not stored.
    pinned.check(f"backup/{name}-{kind}.json", described_export(tmp_path, kind))


RESULTS = """
    SELECT 'explanation' AS what, layer, neuron, text AS value FROM explanation
    JOIN run ON run.id = run_id WHERE run.name = '{name}'
    UNION ALL
    SELECT 'candidate ' || number, layer, neuron, text FROM candidate
    JOIN run ON run.id = run_id WHERE run.name = '{name}'
    UNION ALL
    SELECT 'sentence ' || number, layer, neuron, text || encode(activations, 'hex') FROM sentence
    JOIN run ON run.id = run_id WHERE run.name = '{name}' AND activations IS NOT NULL
    UNION ALL
    SELECT 'records', layer, neuron, encode(activations, 'hex') FROM neuron_records
    JOIN run ON run.id = run_id WHERE run.name = '{name}'
"""
CALLS = """
    SELECT encode(identity, 'hex') AS identity, purpose, text FROM call
    JOIN run ON run.id = run_id WHERE run.name = '{name}'
"""


def test_runs_that_were_killed_before_go_on_to_their_end(restored, pinned):
    before = {name: _results(restored, name) for name in (HALF, READING)}
    paid = restored.rows(CALLS.format(name=HALF))
    with rehearsal_server(faults=FaultRates()) as server:
        started = {name: restored.start("resume", name) for name in (HALF, READING)}
        for name, process in started.items():
            code, output = restored.end(process)
            assert code == 0, f"{name}: {output}"
        stats = server.stats()
    for name, found in before.items():
        assert found.items() <= _results(restored, name).items()
        code, output = restored.here("verify", name)
        assert code == 0, output
    now = restored.rows(CALLS.format(name=HALF))
    assert {tuple(call.values()) for call in paid} <= {tuple(call.values()) for call in now}
    assert stats["distinct_questions"] == stats["requests"] == len(now) - len(paid) > 0
    _check_the_end(restored, pinned, now)


def _results(cli, name):
    rows = cli.rows(RESULTS.format(name=name))
    return {(row["what"], row["layer"], row["neuron"]): row["value"] for row in rows}


def _check_the_end(restored, pinned, calls):
    """Numbers of shards, calls and states do not depend on what the subject model computes."""
    states = "SELECT run, state, count(*) AS n FROM neuron_summary GROUP BY 1, 2 ORDER BY 1, 2"
    purposes = sorted(call["purpose"] for call in calls)
    found = {
        "calls": {purpose: purposes.count(purpose) for purpose in purposes},
        "shards": {name: restored.rows(DONE.format(name=name)) for name in (HALF, READING)},
        "neurons": restored.rows(states),
    }
    pinned.check("backup/end.json", found)
    counts = {row["run"]: row["n"] for row in found["neurons"] if row["state"] == "scored"}
    assert (counts[HALF], counts[READING]) == (N, N)
