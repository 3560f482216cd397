"""Baselines, connections and further scorers of a run on an API, through the command line."""

import json

import pytest

from rehearsal.faults import FaultRates
from rehearsal.options import BatchOptions, RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.command_line_runs import BATCHED, rehearsed, rows

N = 16  # neurons
SCORER = """
[scorer]
endpoint = "here"
model = "rehearsal"
"""


@pytest.mark.parametrize(("mode", "explainer"), [("online", "llm"), ("batch", "token_space")])
def test_a_run_has_its_yardsticks_and_pays_for_the_scorers(cli, mode, explainer):
    options = RehearsalOptions(faults=FaultRates(malformed=0.02), batches=BatchOptions(seconds=0.3))
    with RehearsalServer(options) as server:
        config = rehearsed(server).replace("per_layer = 96", "per_layer = 8")
        config = config.replace("random = 2\n", 'random = 2\nalso = ["detection", "fuzzing"]\n')
        config = config.replace("[explainer]\n", f'[explainer]\nkind = "{explainer}"\n')
        key = 'api_key_env = "ACCEPTANCE_KEY"\n'
        config = config.replace(key, BATCHED if mode == "batch" else "") + SCORER
        code, output = cli.run("run", cli.config(config))
        stats = server.stats()
    assert code == 0, output
    assert "baselines: mean score by layer" in output
    assert stats["repeated_questions"] == 0
    (found,) = rows(cli, "SELECT count(*) AS n, count(score) AS defined, count(call) AS called, "
                         "min(score) AS low, max(score) AS high FROM scorer_result")  # fmt: skip
    assert found["n"] == 2 * N
    assert found["defined"] == found["called"] > 0
    assert 0 <= found["low"] < found["high"] <= 1
    (explained,) = rows(cli, "SELECT count(*) AS n, count(call) AS called FROM explanation")
    assert explained == {"n": N, "called": N}
    (spent,) = rows(cli, "SELECT calls, usd FROM run_cost WHERE stage = 'score'")
    assert spent["calls"] >= found["called"]
    assert spent["usd"] > 0
    summary = rows(cli, "SELECT sum(n + undefined) AS n FROM scorer_summary WHERE run = 'tiny'")
    assert summary == [{"n": 2 * N}]
    (baselines,) = rows(cli, "SELECT count(*) AS n FROM baseline_score")
    assert baselines["n"] == 3 * N
    _look_closer(cli)


def _look_closer(cli):
    (one,) = rows(cli, "SELECT layer, neuron FROM scorer_result WHERE score IS NOT NULL LIMIT 1")
    place = (str(one["layer"]), str(one["neuron"]))
    neuron = json.loads(cli.run("neuron", *place, "--json")[1])
    assert set(neuron["scorers"]) == {"detection", "fuzzing"}
    assert set(neuron["related_tokens"]) == {"input", "output"}
    page = cli.run("neuron", *place)[1]
    for shown in ("balanced accuracy", "baselines: lookup", "input tokens +", "neurons +"):
        assert shown in page
