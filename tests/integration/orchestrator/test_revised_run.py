"""A whole run whose explanations are revised, with failures: what `verify` says of it."""

import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from db import retry, runs
from db.session import transaction
from neurogloss.config.run import RunConfig
from orchestrator.datasets.export import export
from orchestrator.datasets.parquet.schemas import SCHEMAS
from orchestrator.runs.create import create_or_resume
from orchestrator.runs.inputs import check_inputs
from orchestrator.verify.verify import find_differences
from rehearsal.faults import FaultRates
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.small_run import finish, run_config

KEPT = "(layer, neuron) = (SELECT layer, neuron FROM explanation ORDER BY 1, 2 LIMIT 1)"


def differences(engine):
    with transaction(engine) as connection:
        run = runs.latest(connection)
    return [str(found) for found in find_differences(engine, run.id, lambda *_: None)]


def scalar(engine, query):
    with engine.begin() as connection:
        return connection.scalar(text(query))


def damage(engine, statement):
    with engine.begin() as connection:
        assert connection.execute(text(f"{statement} WHERE {KEPT}")).rowcount


# Rates at which each of the stages fails for some neurons and succeeds for others.
@pytest.mark.parametrize(("kind", "refusal"), [("llm", 0.03), ("token_space", 0.1)])
def test_a_revised_run_is_whole_also_after_a_retry_and_damage_is_found(
    engine, services, monkeypatch, tmp_path, kind, refusal
):
    monkeypatch.setenv("REDIS_URL", services.redis_url)
    faults = FaultRates(refusal=refusal, malformed=0.2)
    with RehearsalServer(RehearsalOptions(faults=faults, seed=2)) as server:
        values = run_config(server.base_url).model_dump(mode="json")
        values["explainer"] |= {"kind": kind, "revise": True, "sentences": 4}
        values["scoring"] |= {"calibration": ["linear", "percentile"], "also": ["detection"]}
        values["scorer"] = {"endpoint": "here", "model": "rehearsal"}
        values["ablation"] = {"per_layer": 2}
        config = RunConfig.model_validate(values)
        run_id = create_or_resume(engine, config, check_inputs(config, {}), lambda: None)
        finish(engine, run_id)
        failed = "SELECT array_agg(DISTINCT stage) FROM failure"
        assert {"illustrate", "revise"} <= set(scalar(engine, failed))
        n_explained = scalar(engine, "SELECT count(*) FROM explanation")
        assert differences(engine) == []
        with transaction(engine) as connection:
            retry.retry_failures(connection, run_id)
            runs.resume(connection, run_id)
        finish(engine, run_id)
    assert scalar(engine, "SELECT count(*) FROM explanation") > n_explained
    assert differences(engine) == []
    _check_parquet(engine, run_id, tmp_path)
    damage(engine, "UPDATE sentence SET tokens = NULL, activations = NULL")
    assert any("sentence 0 is not observed" in found for found in differences(engine))
    damage(engine, "UPDATE explanation SET text = 'another'")
    assert any("its explanation is not candidate 0" in found for found in differences(engine))
    damage(engine, "DELETE FROM candidate_score")
    assert any("candidates [] are judged" in found for found in differences(engine))


def _check_parquet(engine, run_id, folder):
    export(engine, run_id, "parquet", folder, 1)
    for name, stored in {
        "candidates": "candidate",
        "candidate_scores": "candidate_score",
        "sentences": "sentence",
        "calibrated_scores": "calibrated_score",
        "scorers": "scorer_result",
        "ablations": "ablation",
    }.items():
        rows = pq.read_table(folder / name).to_pylist()
        assert len(rows) == scalar(engine, f"SELECT count(*) FROM {stored}") > 0, name  # noqa: S608
        assert all(row.keys() == set(SCHEMAS[name].names) for row in rows)
    sentence = pq.read_table(folder / "sentences").to_pylist()[0]
    assert len(sentence["tokens"]) == len(sentence["activations"]) > 0
    assert "".join(sentence["tokens"]).strip() in sentence["text"]
