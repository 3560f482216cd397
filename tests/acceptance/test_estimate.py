"""After a trial, an estimate has what nobody can count beforehand: thought, and retries."""

import json

import pytest

from rehearsal.faults import CONTENT_FAULTS, FaultRates
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.command_line_runs import rehearsed, rows

OPTIONS = RehearsalOptions(
    reasoning_tokens=200,
    faults=FaultRates(malformed=0.1, truncated=0.02, server_error=0.03, rate_limit=0.02),
    seed=4,
)
WITHIN = 0.1


def of_layers(server, name, layers, per_layer):
    """Return a run with a control and scorers; in `tiny`, layers 0 and 3 are explained."""
    text = rehearsed(server).replace('api_key_env = "ACCEPTANCE_KEY"\n', "")
    for old, new in (
        ('name = "tiny"', f'name = "{name}"'),
        ("layers = [0, 3]", f"layers = {layers}"),
        ("per_layer = 96", f"per_layer = {per_layer}"),
        ("control = 0.0\n", 'control = 0.01\nalso = ["detection"]\n'),
    ):
        assert old in text
        text = text.replace(old, new)
    return text + '[scorer]\nendpoint = "here"\nmodel = "rehearsal"\n'


def paid(server):
    """Return what a server has charged for so far."""
    stats = server.stats()
    calls = stats["answered"] + sum(stats["faults"].get(fault, 0) for fault in CONTENT_FAULTS)
    names = ("prompt_tokens", "completion_tokens", "usd")
    return {"calls": calls} | {name: stats[name] for name in names}


def test_an_estimate_after_a_trial_is_what_the_server_counts(cli):
    with RehearsalServer(OPTIONS) as server:
        trial, whole = of_layers(server, "trial", [1, 2], 12), of_layers(server, "x", [0, 3], 40)
        before = json.loads(cli.run("estimate", cli.config(whole), "--json")[1])
        assert before["measured_on"] is None
        thinking = cli.run("estimate", cli.config(whole), "--json", "--reasoning-tokens", "200")[1]
        calls, tokens = before["total"]["calls"], before["total"]["completion_tokens"]
        assert json.loads(thinking)["total"]["completion_tokens"] == tokens + 200 * calls
        code, output = cli.run("run", cli.config(trial), timeout=300)
        assert code in (0, 3), output
        code, output = cli.run("estimate", cli.config(whole), "--json")
        assert code == 0, output
        made = json.loads(output)
        assert made["measured_on"] == "trial"
        control = next(stage for stage in made["stages"] if stage["stage"] == "control")
        assert control["calls"] > 30 * 3  # of 30 of the 80 neurons, each on 4 records or 3
        at_start = paid(server)
        code, output = cli.run("run", cli.config(whole), timeout=400)
        assert code in (0, 3), output
        counted = {name: value - at_start[name] for name, value in paid(server).items()}
    total = made["total"]
    total["usd"] = total["usd_with_cache"]
    assert {name: total[name] for name in counted} == {
        name: pytest.approx(value, rel=WITHIN) for name, value in counted.items()
    }
    (spent,) = rows(cli, "SELECT sum(completion_tokens) AS n FROM run_cost WHERE run = 'x'")
    assert spent["n"] == pytest.approx(counted["completion_tokens"], rel=0.01)
    assert spent["n"] > 200 * 0.9 * counted["calls"]  # of which most was thought
