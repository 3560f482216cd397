"""Published datasets with records of many lengths, and with much left out."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from sqlalchemy import text

from db import runs
from db.neuron import load_neuron, load_neurons
from neurogloss.config.run import RunConfig
from neurogloss.neurons.scoring import correlation_score
from orchestrator.cli.neuron import neuron as neuron_command
from orchestrator.datasets.export import export
from orchestrator.runs.create import create_or_resume
from orchestrator.runs.derive import with_records_of
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.mixed_dataset import LENGTHS, write_mixed
from tests.support.openai_dataset import differences, import_folder
from tests.support.small_run import finish, run_config


@pytest.fixture
def published(tmp_path):
    return write_mixed(tmp_path / "published")


@pytest.fixture
def mixed(engine, published, tmp_path):
    return import_folder(engine, tmp_path / "published", "mixed", subject="gpt2", related=True)


def test_each_record_is_stored_with_its_length(engine, mixed):
    with engine.begin() as connection:
        row = load_neuron(connection, mixed, 0, 0).records
        query = text("SELECT max(array_length(record_tokens, 1)) FROM neuron_records")
        assert connection.scalar(query) == len(LENGTHS) + 9 + 5  # of neuron 2, with buckets
    assert tuple(map(len, row.on(row.top_records))) == LENGTHS
    assert row.max_activation == 31


def test_scores_are_those_of_all_tokens_of_records_of_different_lengths(engine, mixed):
    with engine.begin() as connection:
        stored = load_neuron(connection, mixed, 0, 0)
    places = [stored.records.excerpts.index(excerpt) for excerpt in stored.simulations]
    true = np.concatenate(stored.records.on(places))
    expected = [row.expected_activations for row in stored.simulations.values()]
    assert len(set(map(len, expected))) > 1
    assert stored.score.score == correlation_score(true, np.concatenate(expected))
    assert stored.imported.published_score == 0.25


def test_the_other_formats_have_each_record_at_its_length(engine, mixed, tmp_path):
    for name in ("parquet", "neuronpedia"):
        export(engine, mixed, name, tmp_path / name, processes=1)
    records = pq.read_table(tmp_path / "parquet/records").to_pylist()
    tokens = {
        row["excerpt"]: len(row["tokens"])
        for row in pq.read_table(tmp_path / "parquet/excerpts").to_pylist()
    }
    assert len({len(row["activations"]) for row in records}) > 5
    assert all(len(row["activations"]) == tokens[row["excerpt"]] for row in records)
    assert list((tmp_path / "neuronpedia").rglob("activations/*.gz"))


def test_a_run_on_records_of_many_lengths_is_explained_simulated_and_scored(
    engine, mixed, services, monkeypatch
):
    monkeypatch.setenv("REDIS_URL", services.redis_url)
    with RehearsalServer(RehearsalOptions()) as server:
        values = run_config(server.base_url).model_dump(mode="json")
        values |= {"name": "again", "neurons": {"layers": [0]}}
        values["records"] = {"run": "mixed", "top": 8, "random": 6}
        values["scoring"] = {"top": 2, "random": 2, "calibration": ["linear", "percentile"]}
        config = with_records_of(engine, RunConfig.model_validate(values))
        run_id = create_or_resume(engine, config, None, lambda: None)
        finish(engine, run_id)
    assert differences(engine, "again") == []
    with engine.begin() as connection:
        neurons = load_neurons(connection, run_id, 0, range(5))
    assert [stored.records.record_tokens is not None for stored in neurons] == [True] * 5
    assert [stored.neuron for stored in neurons if stored.score.score is None] == [3]  # has a null
    lengths = {len(row.expected_activations) for row in neurons[0].simulations.values()}
    assert len(lengths) > 1


@pytest.mark.parametrize("neuron", range(5))
def test_what_is_not_known_is_null_on_the_terminal(
    engine, mixed, database_url, monkeypatch, neuron
):
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")  # which is not asked
    asked = ["0", str(neuron), "--run", "mixed"]

    def refuse(constant):
        raise AssertionError(constant)

    page = CliRunner().invoke(neuron_command, asked)
    assert page.exit_code == 0
    assert "top" in page.output
    assert "nan" not in page.output
    found = CliRunner().invoke(neuron_command, [*asked, "--json"])
    values = json.loads(found.output, parse_constant=refuse)
    if neuron == 0:
        means = [item["mean"] for item in values["mean_activation_tokens"]]
        assert means == [2.0, None, None]


def test_a_length_that_is_not_that_of_the_excerpt_is_found(engine, mixed):
    query = text("""
        UPDATE neuron_records SET record_tokens[1] = record_tokens[1] - 1,
                                  record_tokens[2] = record_tokens[2] + 1
        WHERE run_id = :run AND neuron = 0
    """)
    with engine.begin() as connection:
        connection.execute(query, {"run": mixed})
        assert runs.find(connection, "mixed").id == mixed
    assert any(
        "by its excerpts of [9, 1, 5" in str(found) for found in differences(engine, "mixed")
    )
