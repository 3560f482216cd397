"""Controls in the tables of an export."""

from collections import defaultdict

import numpy as np
import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from db.neuron import load_neurons
from neurogloss.config.run import RunConfig
from orchestrator.datasets.export import export
from orchestrator.datasets.parquet.schemas import SCHEMAS
from orchestrator.runs.create import create_or_resume
from orchestrator.runs.inputs import check_inputs
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.small_run import finish, run_config

N_NEURONS = 24
SCORED_TOKENS = 4 * 16  # of the scored records of a neuron


@pytest.fixture
def controlled(engine, services, monkeypatch):
    """The id of a run whose neurons all have a control."""
    monkeypatch.setenv("REDIS_URL", services.redis_url)
    with RehearsalServer(RehearsalOptions()) as server:
        values = run_config(server.base_url).model_dump(mode="json")
        values["scoring"]["control"] = 0.01
        config = RunConfig.model_validate(values)
        run_id = create_or_resume(engine, config, check_inputs(config, {}), lambda: None)
        finish(engine, run_id)
    return run_id


SCORES = "score, score_top, score_random, rsquared, absolute_dev_explained"


def exported(folder, name):
    return pq.read_table(folder / name).to_pylist()


def test_controls_are_exported_as_they_are_stored(engine, controlled, tmp_path):
    export(engine, controlled, "parquet", tmp_path, processes=1)
    found = exported(tmp_path, "controls")
    columns = ", ".join(found[0])
    query = f"SELECT {columns} FROM control_score ORDER BY layer, neuron"  # noqa: S608
    with engine.begin() as connection:
        assert found == [dict(row) for row in connection.execute(text(query)).mappings()]
        stored = [
            (neuron.layer, neuron.neuron, excerpt, row.expected_activations.tolist())
            for layer in (0, 3)
            for neuron in load_neurons(connection, controlled, layer, numbers_in(layer, found))
            for excerpt, row in neuron.control_simulations.items()
        ]
    assert len(found) == N_NEURONS
    assert list(found[0]) == SCHEMAS["controls"].names
    simulations = exported(tmp_path, "control_simulations")
    assert [tuple(row.values()) for row in simulations] == stored


def numbers_in(layer, rows):
    return [row["neuron"] for row in rows if row["layer"] == layer]


def test_scores_of_controls_can_be_recomputed_from_the_files(engine, controlled, tmp_path):
    export(engine, controlled, "parquet", tmp_path, processes=1)
    true = {place_of(row): row["activations"] for row in exported(tmp_path, "records")}
    pairs = defaultdict(list)
    for row in exported(tmp_path, "control_simulations"):
        pairs[place_of(row)[:2]] += zip(
            true[place_of(row)], row["expected_activations"], strict=True
        )
    checked = 0
    for row in exported(tmp_path, "controls"):
        of_neuron = pairs[row["layer"], row["neuron"]]
        if row["score"] is not None and len(of_neuron) == SCORED_TOKENS:  # no record drawn twice
            score = np.corrcoef(*zip(*of_neuron, strict=True))[0, 1]
            assert score == pytest.approx(row["score"])
            checked += 1
    assert checked > N_NEURONS / 2


def place_of(row):
    return row["layer"], row["neuron"], row["excerpt"]
