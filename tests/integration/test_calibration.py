"""Calibrated scores of a run on the rehearsal server."""

import numpy as np
import pytest
from sqlalchemy import text

from db import runs
from db.session import transaction
from neurogloss.config.run import RunConfig
from orchestrator.cli.terminal import evaluations
from orchestrator.cli.terminal.neuron import load_page
from orchestrator.runs.create import check_inputs, create_or_resume
from orchestrator.verify.verify import verify
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.integration.conftest import finish, run_config


@pytest.fixture
def calibrated(engine, services, monkeypatch):
    """An engine on two runs, `plain` and `calibrated`, that differ in the calibration alone."""
    monkeypatch.setenv("REDIS_URL", services.redis_url)
    with RehearsalServer(RehearsalOptions()) as server:
        for name, kinds in (("plain", []), ("calibrated", ["linear", "percentile"])):
            values = run_config(server.base_url).model_dump(mode="json") | {"name": name}
            values["scoring"] |= {"calibration": kinds}
            config = RunConfig.model_validate(values)
            run_id = create_or_resume(engine, config, check_inputs(config, {}), lambda: None)
            finish(engine, run_id)
    return engine


def differences(engine):
    with transaction(engine) as connection:
        run = runs.latest(connection)
    return [str(found) for found in verify(engine, run, lambda *_: None)]


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
            SELECT layer, neuron, rsquared FROM calibrated_score
            WHERE calibration = 'linear' AND score IS NOT NULL LIMIT 1
        """
        row = connection.execute(text(query)).one()
        page = load_page(connection, "calibrated", row.layer, row.neuron)
    shown = evaluations.evaluations_of(page.stored, page.texts)
    assert set(shown["calibrated"]) == {"linear", "percentile"}
    assert np.isclose(shown["calibrated"]["linear"]["rsquared"], row.rsquared)
    lines = str([str(line) for line in evaluations.neuron_lines(shown).renderables])
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
