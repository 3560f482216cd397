"""What the command line shows of baselines and connections."""

import json

import pytest
from rich.console import Console

from db import corpora, evaluations, results, runs
from db.results import ScoreRow
from neurogloss.subject.shape import read_shape
from orchestrator.cli.terminal.evaluations import evaluation_lines
from orchestrator.cli.terminal.summary import baselines_table
from tests.support.collected_run import config_with_baselines, make_run, work_through
from tests.support.databases import connected, copied, copy_database, url_of
from tests.support.shown_neuron import evaluations_of
from tests.support.tiny_subject import make_tokens

RUN_ID = 1
HOSTILE = "\x1b[31m[bold]red\n"


@pytest.fixture(scope="module")
def evaluated_template(services, template):
    """A database with a run that has baselines and connections, and hostile tokens."""
    copy_database(services, template, "evaluated_template")
    with connected(url_of(services, "evaluated_template")) as engine:
        _make_run(engine)
    return "evaluated_template"


@pytest.fixture
def engine(services, evaluated_template):
    """An engine on a copy of it."""
    with copied(services, evaluated_template, "evaluated") as url, connected(url) as engine:
        yield engine


def _make_run(engine):
    with engine.begin() as connection:
        corpora.save_vocabulary(connection, "v", [f"{HOSTILE}{token}" for token in range(4096)])
    config = config_with_baselines("demo", neurons={"layers": [0, 3], "per_layer": 40})
    run_id = make_run(engine, config, read_shape("demo"), make_tokens(200, 700, 64, 1))
    work_through(engine, run_id)


def shown(part, width=4000):
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(part)
    return capture.get()


def test_a_neuron_has_its_baselines_and_connections(engine):
    with engine.begin() as connection:
        neuron = runs.neurons_in(connection, RUN_ID, 3)[0]
        found = evaluations_of(connection, RUN_ID, 3, neuron)
    assert json.loads(json.dumps(found)) == found
    assert list(found["baselines"]) == ["lookup", "token_list", "weights"]
    assert len(found["mean_activation_tokens"]) == 50
    assert {k: len(v) for k, v in found["related_neurons"].items()} == {
        "upstream": 20,
        "downstream": 20,
    }
    assert {k: len(v) for k, v in found["related_tokens"].items()} == {"input": 40, "output": 40}
    text = shown(evaluation_lines(found))
    assert f"lookup {found['baselines']['lookup']['score']:.3f}" in text
    strongest = found["related_neurons"]["upstream"][-1]
    assert f"[{strongest['layer']} {strongest['neuron']}] {strongest['weight']:.3g}" in text
    assert "\x1b" not in text
    assert "\\x1b[31m[bold]red\\n" in text


def test_a_neuron_of_the_first_layer_has_nothing_upstream(engine):
    with engine.begin() as connection:
        neuron = runs.neurons_in(connection, RUN_ID, 0)[0]
        found = evaluations_of(connection, RUN_ID, 0, neuron)
    assert found["related_neurons"]["upstream"] == []
    assert "upstream" not in shown(evaluation_lines(found))


def test_a_neuron_without_any_of_it_shows_nothing(engine):
    with engine.begin() as connection:
        for name in ("baseline_score", "related_neurons", "related_tokens", "token_means"):
            connection.exec_driver_sql(f"TRUNCATE {name}")
        found = evaluations_of(connection, RUN_ID, 0, 1)
    assert shown(evaluation_lines(found)).strip() == ""


def test_the_summary_has_the_baselines_beside_the_scores(engine):
    with engine.begin() as connection:
        neuron = runs.neurons_in(connection, RUN_ID, 3)[0]
        row = ScoreRow(RUN_ID, 3, neuron, 0.125, 0.1, 0.2, 0.0, 0.0, None)
        results.scores.save(connection, [row])
        baselines = evaluations.baseline_means(connection, "demo")
        means = results.layer_means(connection, RUN_ID)
    lines = shown(baselines_table(baselines, means), width=100).splitlines()
    (own,) = [line for line in lines if line.strip("│ ").startswith("3 ")]
    assert "0.125" in own
    assert own.count(".") == 4
