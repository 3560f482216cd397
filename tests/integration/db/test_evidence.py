"""The evidence of whether a run means anything: read without reading all of the run."""

import json

import pytest
from sqlalchemy import event, text

from db.evidence import evidence_of

ROWS = 20_000


@pytest.fixture
def read(engine, run_id):
    """Return the scans that look for evidence, as (table, rows read), for a configuration."""

    def scans(config):
        plans = []

        def explained(connection, cursor, statement, parameters, context, executemany):
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT json) {statement}", parameters)
            plans.append(cursor.fetchone()[0][0]["Plan"])
            return statement, parameters

        with engine.begin() as connection:
            connection.execute(
                text("UPDATE run SET config = CAST(:config AS jsonb)"),
                {"config": json.dumps(config)},
            )
            event.listen(connection, "before_cursor_execute", explained, retval=True)
            evidence_of(connection, run_id)
        return [scan for plan in plans for scan in of_plan(plan)]

    with engine.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO explanation (run_id, layer, neuron, text, explainer)
                SELECT :run, 0, n, 'x', 'lookup' FROM generate_series(1, :n) AS n
            """),
            {"run": run_id, "n": ROWS},
        )
    return scans


def of_plan(plan):
    if plan.get("Relation Name") == "explanation":
        yield plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) * plan["Actual Loops"]
    for part in plan.get("Plans", ()):
        yield from of_plan(part)


def test_nothing_is_read_of_a_run_that_only_looks_up(read):
    assert sum(read({"explainer": {"kind": "chat"}, "simulator": {}})) >= ROWS
    assert sum(read({"explainer": {"kind": "lookup"}, "simulator": {"kind": "lookup"}})) == 0
