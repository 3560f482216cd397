"""Explanations that are chosen among several, or revised, on the rehearsal server."""

import json

import pytest

from rehearsal.faults import FaultRates
from rehearsal.options import BatchOptions, RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.command_line_runs import N_FEW, PROGRESS, of_few_neurons, rows


@pytest.mark.parametrize("mode", ["online", "batch"])
def test_the_best_of_several_drafts_is_the_explanation(cli, mode):
    options = RehearsalOptions(faults=FaultRates(malformed=0.02), batches=BatchOptions(seconds=0.3))
    with RehearsalServer(options) as server:
        code, output = cli.run("run", cli.config(of_few_neurons(server, mode, "candidates = 3")))
        stats = server.stats()
    assert code == 0, output
    assert stats["repeated_questions"] == 0
    progress = rows(cli, PROGRESS)
    assert [row["stage"] for row in progress] == [
        *("collect", "explain", "choose", "simulate", "score")
    ]
    assert all(row["done"] == row["total"] > 0 for row in progress)
    (found,) = rows(cli, "SELECT count(*) AS n, count(DISTINCT text) AS texts FROM candidate")
    assert found["n"] == 3 * N_FEW
    assert found["texts"] > N_FEW
    (judged,) = rows(cli, "SELECT count(*) AS n, count(score) AS defined FROM candidate_score")
    assert judged["n"] == 3 * N_FEW
    assert judged["defined"] > 0
    spent = {row["stage"]: row for row in rows(cli, "SELECT stage, calls, usd FROM run_cost")}
    assert spent["explain"]["calls"] >= 3 * N_FEW
    assert spent["choose"]["calls"] >= 3 * N_FEW
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
