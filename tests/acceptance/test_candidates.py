"""Explanations that are chosen among several, or revised, on the rehearsal server."""

import json

import pytest

from rehearsal.faults import FaultRates
from rehearsal.options import BatchOptions, RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.acceptance.runs import BATCHED, PROGRESS, rehearsed, rows

N = 16  # neurons


def configured(server, mode, explainer):
    """Return a configuration of few neurons, with more keys of `explainer`."""
    config = rehearsed(server).replace("per_layer = 96", "per_layer = 8")
    config = config.replace("[explainer]\n", f"[explainer]\n{explainer}\n")
    key = 'api_key_env = "ACCEPTANCE_KEY"\n'
    return config.replace(key, BATCHED if mode == "batch" else "")


@pytest.mark.parametrize("mode", ["online", "batch"])
def test_the_best_of_several_drafts_is_the_explanation(cli, mode):
    options = RehearsalOptions(faults=FaultRates(malformed=0.02), batches=BatchOptions(seconds=0.3))
    with RehearsalServer(options) as server:
        code, output = cli.run("run", cli.config(configured(server, mode, "candidates = 3")))
        stats = server.stats()
    assert code == 0, output
    assert stats["repeated_questions"] == 0
    progress = rows(cli, PROGRESS)
    assert [row["stage"] for row in progress] == [
        *("collect", "explain", "choose", "simulate", "score")
    ]
    assert all(row["done"] == row["total"] > 0 for row in progress)
    (found,) = rows(cli, "SELECT count(*) AS n, count(DISTINCT text) AS texts FROM candidate")
    assert found["n"] == 3 * N
    assert found["texts"] > N
    (judged,) = rows(cli, "SELECT count(*) AS n, count(score) AS defined FROM candidate_score")
    assert judged["n"] == 3 * N
    assert judged["defined"] > 0
    spent = {row["stage"]: row for row in rows(cli, "SELECT stage, calls, usd FROM run_cost")}
    assert spent["explain"]["calls"] >= 3 * N
    assert spent["choose"]["calls"] >= 3 * N
    assert spent["choose"]["usd"] > 0
    assert cli.run("verify")[0] == 0
    _look_closer(cli)


def _look_closer(cli):
    (one,) = rows(cli, "SELECT layer, neuron FROM candidate_score WHERE score > 0 LIMIT 1")
    place = (str(one["layer"]), str(one["neuron"]))
    shown = json.loads(cli.run("neuron", *place, "--json")[1])
    assert [candidate["number"] for candidate in shown["candidates"]] == [0, 1, 2]
    assert sum(candidate["is_chosen"] for candidate in shown["candidates"]) == 1
    assert "(kept): choose" in cli.run("neuron", *place)[1]
