"""Calibrated scores of a run on the rehearsal server."""

import numpy as np
import pytest
from sqlalchemy import text

from db import runs
from db.session import transaction
from neurogloss.config.run import RunConfig
from orchestrator.cli.terminal.evaluations import evaluation_lines
from orchestrator.runs.create import create_or_resume
from orchestrator.runs.inputs import check_inputs
from orchestrator.verify.verify import find_differences
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.databases import connected, copied, copy_database, url_of
from tests.support.shown_neuron import evaluations_of
from tests.support.small_run import finish, run_config


@pytest.fixture(scope="module")
def calibrated_template(services, template):
    """A database with two runs, `plain` and `calibrated`, that differ in the calibration alone."""
    copy_database(services, template, "calibrated_template")
    with (
        pytest.MonkeyPatch.context() as patch,
        connected(url_of(services, "calibrated_template")) as engine,
        RehearsalServer(RehearsalOptions()) as server,
    ):
        patch.setenv("REDIS_URL", services.redis_url)
        for name, kinds in (("plain", []), ("calibrated", ["linear", "percentile"])):
            values = run_config(server.base_url).model_dump(mode="json") | {"name": name}
            values["scoring"] |= {"calibration": kinds}
            config = RunConfig.model_validate(values)
            run_id = create_or_resume(engine, config, check_inputs(config, {}), lambda: None)
            finish(engine, run_id)
    return "calibrated_template"


@pytest.fixture
def calibrated(services, calibrated_template):
    """An engine on a copy of it."""
    with copied(services, calibrated_template, "calibrated") as url, connected(url) as engine:
        yield engine


def differences(engine):
    with transaction(engine) as connection:
        run = runs.latest(connection)
    return [str(found) for found in find_differences(engine, run.id, lambda *_: None)]


def test_calibration_adds_scores_and_changes_none(calibrated):
    with calibrated.begin() as connection:
        scores = "SELECT layer, neuron, score, score_top, score_random, rsquared FROM score"
        of_run = text(f"{scores} JOIN run ON run.id = run_id WHERE name = :n ORDER BY 1, 2")
        plain, other = (
            connection.execute(of_run, {"n": name}).all() for name in ("plain", "calibrated")
        )
        assert plain == other
        rows = connection.execute(text("SELECT * FROM calibrated_score")).mappings().all()
        assert len(rows) == 2 * len(plain)
        by_neuron = {(row.layer, row.neuron): row for row in plain}
        for row in rows:
            stored = by_neuron[row["layer"], row["neuron"]]
            if row["calibration"] == "linear" and row["score"] is not None:
                assert row["slope"] > 0
                assert row["score"] == pytest.approx(stored.score)
                assert row["rsquared"] <= 1
        assert any(row["score"] is not None for row in rows)
        summary = text("SELECT calibration, sum(n + undefined) AS n FROM calibration_summary"
                       " WHERE run = 'calibrated' GROUP BY 1 ORDER BY 1")  # fmt: skip
        found = connection.execute(summary).all()
        assert found == [("linear", len(plain)), ("percentile", len(plain))]
        n = text("SELECT count(*) FROM simulation JOIN run ON run.id = run_id WHERE name = :n")
        counts = [connection.scalar(n, {"n": name}) for name in ("plain", "calibrated")]
        assert counts[0] < counts[1] <= 2 * counts[0]
    assert differences(calibrated) == []
    _look_closer(calibrated)


def _look_closer(calibrated):
    with calibrated.begin() as connection:
        query = """
            SELECT run_id, layer, neuron, rsquared FROM calibrated_score
            WHERE calibration = 'linear' AND score IS NOT NULL LIMIT 1
        """
        row = connection.execute(text(query)).one()
        shown = evaluations_of(connection, row.run_id, row.layer, row.neuron)
    assert set(shown["calibrated"]) == {"linear", "percentile"}
    assert np.isclose(shown["calibrated"]["linear"]["rsquared"], row.rsquared)
    lines = str([str(line) for line in evaluation_lines(shown).renderables])
    assert f"linear calibration: explained variance {row.rsquared:.3f}" in lines


DAMAGE = {
    "UPDATE calibrated_score SET score = score + 1e-9": "after linear calibration, score is",
    "UPDATE calibrated_score SET slope = slope * 1.5": "the line of linear calibration is",
    "DELETE FROM calibrated_score WHERE calibration = 'percentile'": (
        "it has a score, and none after percentile calibration"
    ),
}


def test_a_damaged_calibration_is_found(calibrated):
    for statement, message in DAMAGE.items():
        assert not any(message in difference for difference in differences(calibrated))
        with calibrated.begin() as connection:
            assert connection.execute(text(statement)).rowcount
        assert any(message in difference for difference in differences(calibrated))
