"""`compare` on stored runs: every figure against the rows that were put in."""

import json
import math

import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy import text

from db import calls, corpora, evaluations, results, runs
from db.evaluations import BaselineScoreRow
from db.results import ExplanationRow, ScoreRow, SimulationRow
from neurogloss.config.run import RunConfig
from neurogloss.errors import InputError
from orchestrator.cli.main import cli

SCORES = {  # by run, of neurons (layer, neuron)
    "one": {(0, 0): 0.5, (0, 1): None, (1, 0): 0.9, (1, 1): 0.2, (1, 2): 0.1},
    "other$": {(0, 0): 0.7, (0, 1): 0.3, (1, 0): 0.4, (1, 1): 0.2},
}
HOSTILE = "finds \x1b[31m[bold]things"


@pytest.fixture
def stored(engine, database_url, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    with engine.begin() as connection:
        vocabulary = corpora.save_vocabulary(connection, "v", ["a", "b"])
        corpus = {
            "digest": "c", "vocabulary_id": vocabulary, "source": "s", "n_excerpts": 1,
            "excerpt_tokens": 2, "n_documents": 1, "n_documents_too_short": 0, "n_windows": 1,
        }  # fmt: skip
        corpus_id = corpora.save_corpus(
            connection, corpora.NewCorpus(**corpus), [("d", 0, b"\0" * 8)]
        )
        for name, scores in SCORES.items():
            _store_run(connection, corpus_id, name, scores)
    return engine


def _store_run(connection, corpus_id, name, scores):
    endpoints = {"e": {"base_url": "http://127.0.0.1:9/v1"}}
    roles = {"explainer": {"endpoint": "e", "model": name}, "simulator": {"endpoint": "e"}}
    config = RunConfig.model_validate(
        {"name": name.strip("$"), "subject": {"model": "demo"}, "endpoints": endpoints, **roles}
    )
    values = {
        "name": name, "config": config.model_dump(mode="json"), "config_hash": "h",
        "corpus_id": corpus_id, "n_layers": 2, "neurons_per_layer": 3,
    }  # fmt: skip
    run_id = runs.create(connection, runs.NewRun(**values))
    neurons = list(scores)
    shards = [runs.PlannedShard("score", "", 0, 0, 3, 3, "done")]
    runs.save_plan(
        connection,
        run_id,
        neurons=[runs.PlannedNeuron(*place) for place in neurons],
        shards=shards,
        totals=[("score", 0, 5)],
    )
    results.scores.save(
        connection,
        [
            ScoreRow(run_id, *place, score, score, score, None, None, None if score else "dead")
            for place, score in scores.items()
        ],
    )
    words = [
        ExplanationRow(run_id, *place, f"{HOSTILE} {sum(place)}", name, _call(name, place))
        for place in neurons
    ]
    results.explanations.save(connection, words)
    simulations = [
        SimulationRow(run_id, *place, excerpt, np.empty(0), None, "s", name, _call("both", place))
        for place in neurons
        for excerpt in (1, 2)  # read from one answer
    ]
    results.simulations.save(connection, simulations)
    paid = [(_call(name, place), 0.25) for place in neurons]
    paid += [(_call("both", place), 0.5) for place in neurons]
    calls.save(connection, [_call_row(run_id, identity, usd) for identity, usd in paid])


def _call(name, place):
    return f"{name} {place}".encode()


def _call_row(run_id, identity, usd):
    texts = dict.fromkeys(("purpose", "endpoint", "model", "text"), "x")
    counts = dict.fromkeys(
        ("prompt_tokens", "cached_tokens", "completion_tokens", "attempts", "latency_ms"), 1
    )
    nothing = dict.fromkeys(("finish_reason", "refusal", "distributions", "request_id"))
    paid = {"usd": usd, "wasted_usd": 0.0}
    return calls.StoredCall(identity, run_id, **texts, **counts, **nothing, **paid)


def compare(*arguments):
    found = CliRunner().invoke(cli, ["compare", *arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


def test_two_runs_neuron_by_neuron(stored):
    report = json.loads(compare("one", "other$", "--json", "--limit", "2"))
    summary = report["summary"]
    assert (summary["neurons_in_both"], summary["n"], summary["same_explanation"]) == (4, 3, 4)
    assert (summary["a_higher"], summary["b_higher"]) == (1, 1)
    assert summary["mean_a"] == pytest.approx((0.5 + 0.9 + 0.2) / 3)
    assert summary["difference"] == pytest.approx((0.2 - 0.5 + 0) / 3)
    assert [(row["layer"], row["n"]) for row in report["layers"]] == [(0, 1), (1, 2)]
    apart = [(row["layer"], row["neuron"]) for row in report["furthest_apart"]]
    assert apart == [(1, 0), (0, 0)]
    assert report["furthest_apart"][0]["usd_a"] == pytest.approx(0.75)
    assert report["configuration"] == ['explainer.model: "one" -> "other$"']
    assert (report["a"]["neurons"], report["a"]["scored"], report["b"]["scored"]) == (5, 4, 4)


def test_statistics_are_those_of_numpy_and_undefined_where_nothing_varies(stored):
    summary = json.loads(compare("one", "other$", "--json"))["summary"]
    a, b = np.array([0.5, 0.9, 0.2]), np.array([0.7, 0.4, 0.2])
    assert summary["standard_error"] == pytest.approx((b - a).std(ddof=1) / 3**0.5)
    assert summary["correlation"] == pytest.approx(np.corrcoef(a, b)[0, 1])
    with stored.begin() as connection:
        connection.execute(text("UPDATE score SET score = 0.3 WHERE run_id = 1 AND score > 0"))
    report = json.loads(compare("one", "other$", "--json"))
    assert report["summary"]["correlation"] is None
    assert [row["standard_error"] is None for row in report["layers"]] == [True, False]


def test_every_neuron_can_be_written(stored, tmp_path):
    file = tmp_path / "neurons.jsonl"
    compare("one", "other$", "--neurons", str(file))
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(row["layer"], row["neuron"]) for row in rows] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [row["score_a"] for row in rows] == [0.5, None, 0.9, 0.2]
    assert {row["usd_b"] for row in rows} == {0.75}
    assert rows[3]["explanation_a"] == rows[3]["explanation_b"] == f"{HOSTILE} 2"


def test_a_terminal_is_not_acted_on(stored):
    output = compare("one", "other$")
    assert "\x1b[31m" not in output
    assert "[bold]" in output


def test_a_run_is_compared_with_the_paper(stored):
    with stored.begin() as connection:
        rows = [BaselineScoreRow(1, 1, n, "lookup", 0.5 + n / 10, *[None] * 5) for n in (0, 1)]
        evaluations.baseline_scores.save(connection, rows)
    report = json.loads(compare("one", "--paper", "--json"))
    first, last = report["layers"]
    assert (first["paper_layer"], last["paper_layer"]) == (0, 47)
    assert first["run"] == {"explanation": 0.5, "lookup": None, "weights": None}
    assert first["paper"] == {"explanation": 0.379, "lookup": 0.901, "weights": 0.644}
    assert last["run"]["explanation"] == pytest.approx(0.4)
    assert last["run"]["lookup"] == pytest.approx(0.55)
    assert report["mean_score"] == pytest.approx((0.5 + 0.9 + 0.2 + 0.1) / 4)
    assert "same relative" in compare("one", "--paper").replace("\n", " ")


@pytest.mark.parametrize("other", ["other$", "--paper"])
@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_picture_is_drawn(stored, tmp_path, other, suffix):
    file = tmp_path / f"plot.{suffix}"
    compare("one", other, "--plot", str(file))
    head = file.read_bytes()[:200]
    assert head.startswith(b"\x89PNG") if suffix == "png" else b"<svg" in head or b"<?xml" in head


def test_runs_that_share_no_neuron_are_told_so(stored):
    with stored.begin() as connection:
        for table in ("neuron", "score", "explanation"):
            connection.execute(text(f"DELETE FROM {table} WHERE run_id = 2"))  # noqa: S608
    report = json.loads(compare("one", "other$", "--json"))
    assert (report["summary"]["neurons_in_both"], report["layers"]) == (0, [])
    assert report["summary"]["mean_a"] is None
    assert "0 neurons in both" in compare("one", "other$")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one"], "second run, or --paper"),
        (["one", "other$", "--paper"], "second run, or --paper"),
        (["one", "nobody"], "no run 'nobody'"),
        (["one", "--paper", "--plot", "x.txt"], "must end in one of"),
        (["one", "--paper", "--plot", "/nowhere/x.png"], "no folder /nowhere"),
        (["one", "--paper", "--neurons", "x"], "needs a second run"),
        (["one", "other$", "--neurons", "/nowhere/x"], "No such file"),
    ],
)
def test_what_cannot_be_compared_is_refused(stored, arguments, message):
    with pytest.raises(InputError, match=message):
        CliRunner().invoke(cli, ["compare", *arguments], catch_exceptions=False)


def test_no_figure_is_nan(stored):
    def refuse(constant):
        raise AssertionError(constant)

    report = json.loads(compare("one", "other$", "--json"), parse_constant=refuse)
    assert not math.isnan(report["summary"]["difference"])
