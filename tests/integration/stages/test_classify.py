"""Detection and fuzzing on planted neurons, each of which fires on one known token."""

import json
import math
import re
from dataclasses import astuple

import numpy as np
import pytest

from db import corpora, evaluations, results
from db.results import ExplanationRow
from neurogloss.config.run import RunConfig
from neurogloss.subject.shape import read_shape
from orchestrator.runs.endpoints import check_endpoints
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.collected_run import do_online, make_run, work_through
from tests.support.planted_subject import DENSE, N, Oracle, serving, token_text
from worker.stages.classify import classify

GARBAGE = "something that the server does not understand"


class ClassifyingOracle(Oracle):
    """Answers rightly for a neuron that looks for the token which the explanation names."""

    def choice(self, body):
        explanation, _, *texts = body["messages"][-1]["content"].splitlines()
        token = explanation.removeprefix("The neuron looks for: ")
        is_fuzzing = "marked" in body["messages"][0]["content"]
        answers = [self._answer(text.partition(": ")[2], token, is_fuzzing) for text in texts]
        text = json.dumps({str(number): answer for number, answer in enumerate(answers)})
        if token == GARBAGE:
            text = "I would rather talk about the weather"
        choice = {"message": {"content": text}}
        if body.get("logprobs"):
            choice["logprobs"] = {"content": [self._likely(p) for p in re.findall(r"\d|\D+", text)]}
        return choice

    def _answer(self, text, token, is_fuzzing):
        if not is_fuzzing:
            return int(token in text)
        spans = re.findall("<<(.*?)>>", text)
        return int(all(not span.replace(token, "") for span in spans))

    def _likely(self, piece):
        other = {"0": "1", "1": "0"}.get(piece, "x")
        found = [(piece, 0.9), (other, 0.1)]
        likely = [{"token": t, "logprob": math.log(p)} for t, p in found]
        return {**likely[0], "top_logprobs": likely}


@pytest.fixture
def oracle():
    with serving(ClassifyingOracle) as url:
        yield url


@pytest.fixture
def collected(engine, planted, oracle, services, monkeypatch):
    """Collect the planted model, and return what classifies its neurons by given explanations."""
    monkeypatch.setenv("REDIS_URL", services.redis_url)
    tokens = np.random.default_rng(0).integers(0, N, (240, 16), dtype=np.int32)

    def classified(explanations, **scorer):
        config = RunConfig.model_validate(
            {
                "name": "planted",
                "subject": {"model": planted},
                "corpus": {"excerpts": len(tokens), "excerpt_tokens": 16},
                "explainer": {"endpoint": "here"},
                "simulator": {"endpoint": "here"},
                "scorer": {"endpoint": "here", **scorer},
                "scoring": {"also": ["detection", "fuzzing"]},
                "endpoints": {"here": {"base_url": oracle}},
            }
        )
        with engine.begin() as connection:
            corpora.save_vocabulary(connection, "v", [token_text(token) for token in range(N)])
        run_id = make_run(engine, config, read_shape(planted), tokens)
        work_through(engine, run_id)
        return run_id, _classify(engine, run_id, explanations)

    return classified


def _classify(engine, run_id, explanations):
    with engine.begin() as connection:
        rows = [ExplanationRow(run_id, 0, n, text, "planted") for n, text in explanations.items()]
        results.explanations.save(connection, rows)
        insert = (
            "INSERT INTO shard (run_id, stage, layer, start, stop, weight, state)"
            " VALUES (%s, 'score', 0, 0, %s, %s, 'ready') RETURNING id"
        )
        shard_id = connection.exec_driver_sql(insert, (run_id, N, N)).scalar_one()
    rows, failures = do_online(classify, engine, run_id, shard_id)
    with engine.begin() as connection:
        evaluations.scorer_results.save(connection, rows)
        results.failures.save(connection, failures)
        stored = evaluations.scorer_results.load(connection, run_id, 0, 0, N)
    return {(row.neuron, row.scorer): row for row in stored}, failures


def of_scorer(found, scorer, key="score"):
    rows = [row for (neuron, name), row in found.items() if name == scorer and neuron != DENSE]
    return [getattr(row, key) for row in rows]


def test_an_oracle_explanation_is_right_about_every_planted_neuron(collected):
    _, (found, failures) = collected({n: token_text(n) for n in range(N)})
    assert failures == []
    for scorer in ("detection", "fuzzing"):
        assert of_scorer(found, scorer) == [1.0] * (N - 1)
        assert of_scorer(found, scorer, "n_positive") == [5] * (N - 1)
        assert of_scorer(found, scorer, "auc") == [None] * (N - 1)
    assert set(of_scorer(found, "fuzzing", "n_negative")) == {5}


def test_a_random_explanation_is_right_by_chance(collected):
    _, (found, _) = collected({n: token_text((n + 17) % N) for n in range(N)})
    for scorer in ("detection", "fuzzing"):
        assert np.mean(of_scorer(found, scorer)) == pytest.approx(0.5, abs=0.05)


def test_with_log_probabilities_there_is_an_area_under_the_curve(collected):
    _, (found, failures) = collected({n: token_text(n) for n in range(4)}, top_logprobs=5)
    assert failures == []
    assert of_scorer(found, "detection", "auc") == of_scorer(found, "fuzzing", "auc") == [1.0] * 4


def test_a_neuron_that_always_fires_has_no_score_and_says_why(collected):
    _, (found, failures) = collected({DENSE: "every token"})
    assert failures == []
    assert {row.undefined_reason for row in found.values()} == {"no_negative_records"}
    assert {(row.score, row.call) for row in found.values()} == {(None, None)}


def test_what_cannot_be_read_fails_and_what_is_stored_is_not_asked_again(engine, collected):
    run_id, (found, failures) = collected({0: token_text(0), 1: GARBAGE})
    assert sorted(found) == [(0, "detection"), (0, "fuzzing")]
    assert [astuple(failure)[:5] for failure in failures] == [(run_id, "score", 0, 1, "malformed")]
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM shard WHERE stage = 'score'")
        calls = connection.exec_driver_sql("SELECT count(*) FROM call").scalar_one()
    again, failures = _classify(engine, run_id, {})
    assert (again, failures) == (found, [])
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM call").scalar_one() == calls
        spent = "SELECT stage, sum(calls) FROM spend GROUP BY 1"
        assert dict(connection.exec_driver_sql(spent).all()) == {"score": calls}


@pytest.mark.parametrize(("model", "asked"), [("rehearsal", 2), ("another", 3)])
def test_a_scorer_that_is_the_explainer_is_not_asked_again_whether_it_answers(model, asked):
    role = {"endpoint": "here", "model": "rehearsal"}
    options = RehearsalOptions(models=("rehearsal", "another"))
    with RehearsalServer(options) as server:
        config = RunConfig.model_validate(
            {
                "name": "probed",
                "explainer": role,
                "simulator": {"kind": "json", **role},
                "scorer": {"endpoint": "here", "model": model},
                "scoring": {"also": ["detection"]},
                "endpoints": {"here": {"base_url": server.base_url}},
            }
        )
        check_endpoints(config)
        stats = server.stats()
    assert (stats["answered"], stats["repeated_questions"]) == (asked, 0)
