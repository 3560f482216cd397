"""What the command line shows of baselines and connections."""

import json

import pytest
from rich.console import Console

from db import results, runs
from db.neuron import load_neuron
from db.results import ScoreRow
from neurogloss.subject.shape import read_shape
from orchestrator.cli.terminal import evaluations
from tests.integration.test_baselines import configured
from tests.integration.test_collection import make_run, make_tokens, own_models, work_through  # noqa: F401

HOSTILE = "\x1b[31m[bold]red\n"


@pytest.fixture
def run_id(engine):
    with engine.begin() as connection:
        runs.save_vocabulary(connection, "v", [f"{HOSTILE}{token}" for token in range(4096)])
    config = configured("demo", neurons={"layers": [0, 3], "per_layer": 40})
    run_id = make_run(engine, config, read_shape("demo"), make_tokens(200, 700, 64, 1))
    work_through(engine, run_id)
    return run_id


def evaluations_of(connection, run_id, layer, neuron):
    corpus = runs.corpus(connection, runs.get(connection, run_id)["corpus_id"])
    texts = runs.token_texts(connection, corpus["vocabulary_id"])
    return evaluations.evaluations_of(load_neuron(connection, run_id, layer, neuron), texts)


def shown(part, width=4000):
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(part)
    return capture.get()


def test_a_neuron_has_its_baselines_and_connections(engine, run_id):
    with engine.begin() as connection:
        neuron = runs.neurons_in(connection, run_id, 3)[0]
        found = evaluations_of(connection, run_id, 3, neuron)
    assert json.loads(json.dumps(found)) == found
    assert list(found["baselines"]) == ["lookup", "token_list", "weights"]
    assert len(found["mean_activation_tokens"]) == 50
    assert {k: len(v) for k, v in found["related_neurons"].items()} == {
        "upstream": 20,
        "downstream": 20,
    }
    assert {k: len(v) for k, v in found["related_tokens"].items()} == {"input": 40, "output": 40}
    text = shown(evaluations.neuron_lines(found))
    assert f"lookup {found['baselines']['lookup']['score']:.3f}" in text
    strongest = found["related_neurons"]["upstream"][-1]
    assert f"[{strongest['layer']} {strongest['neuron']}] {strongest['weight']:.3g}" in text
    assert "\x1b" not in text
    assert "\\x1b[31m[bold]red\\n" in text


def test_a_neuron_of_the_first_layer_has_nothing_upstream(engine, run_id):
    with engine.begin() as connection:
        neuron = runs.neurons_in(connection, run_id, 0)[0]
        found = evaluations_of(connection, run_id, 0, neuron)
    assert found["related_neurons"]["upstream"] == []
    assert "upstream" not in shown(evaluations.neuron_lines(found))


def test_a_neuron_without_any_of_it_shows_nothing(engine, run_id):
    with engine.begin() as connection:
        for name in ("baseline_score", "related_neurons", "related_tokens", "token_means"):
            connection.exec_driver_sql(f"TRUNCATE {name}")
        found = evaluations_of(connection, run_id, 0, 1)
    assert shown(evaluations.neuron_lines(found)).strip() == ""


def test_the_summary_has_the_baselines_beside_the_scores(engine, run_id):
    with engine.begin() as connection:
        neuron = runs.neurons_in(connection, run_id, 3)[0]
        row = ScoreRow(run_id, 3, neuron, 0.125, 0.1, 0.2, 0.0, 0.0, None)
        results.scores.save(connection, [row])
    console = Console(width=100)
    with console.capture() as capture:
        evaluations.print_baselines(console, engine, run_id, "demo")
    lines = capture.get().splitlines()
    (own,) = [line for line in lines if line.strip("│ ").startswith("3 ")]
    assert "0.125" in own
    assert own.count(".") == 4
