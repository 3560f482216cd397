"""Explanations that are revised by counter-examples, on the rehearsal server."""

import pytest

from rehearsal.faults import FaultRates
from rehearsal.options import BatchOptions, RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.command_line_runs import N_FEW, PROGRESS, of_few_neurons, rows

REVISED = ("illustrate", "observe", "revise")
EXPLAINER = "revise = true\nsentences = 8\n"


@pytest.mark.parametrize(
    ("mode", "drafts", "line_failures"),
    [
        pytest.param("online", 1, 0.0, id="online"),
        pytest.param("batch", 2, 0.05, id="in batches, of which lines fail"),
    ],
)
def test_explanations_are_revised_to_the_end(cli, mode, drafts, line_failures):
    options = RehearsalOptions(
        faults=FaultRates(malformed=0.01),
        seed=1,  # by which no two neurons get the same malformed text for an explanation
        batches=BatchOptions(seconds=0.3, line_failures=line_failures),
    )
    with RehearsalServer(options) as server:
        explainer = f"{EXPLAINER}candidates = {drafts}"
        code, _ = cli.run("run", cli.config(of_few_neurons(server, mode, explainer)))
        stats = server.stats()
    assert code == 0, rows(cli, "SELECT stage, failure_class, message, attempts FROM failure")
    assert stats["repeated_questions"] == 0
    _went_through_all_stages(cli, drafts)
    _tried_all_drafts(cli)
    _kept_the_drafts(cli, drafts)
    verified = cli.run("verify")
    assert verified[0] == 0, verified[1]


def _went_through_all_stages(cli, drafts):
    chosen = ("choose",) if drafts > 1 else ()
    progress = rows(cli, PROGRESS)
    assert [row["stage"] for row in progress] == [
        *("collect", "explain", *chosen, *REVISED, "simulate", "score")
    ]
    assert all(row["done"] == row["total"] > 0 for row in progress)
    spent = {row["stage"]: row for row in rows(cli, "SELECT stage, calls, usd FROM run_cost")}
    assert spent["illustrate"]["calls"] >= N_FEW
    assert spent["revise"]["calls"] > 2 * N_FEW
    assert spent["revise"]["usd"] > spent["illustrate"]["usd"] > 0


def _tried_all_drafts(cli):
    found = rows(
        cli,
        "SELECT is_expected, for_judging, count(*) AS n, count(DISTINCT text) AS texts, "
        "min(length(tokens)) AS tokens, bool_and(length(tokens) = 2 * length(activations)) AS fit "
        "FROM sentence GROUP BY 1, 2",
    )
    assert [row["n"] for row in found] == [2 * N_FEW] * 4
    assert all(row["texts"] == row["n"] for row in found)
    assert all(row["fit"] and row["tokens"] > 0 for row in found)


def _kept_the_drafts(cli, drafts):
    """The server simulates alike whatever is explained: of equals, the draft stays."""
    found = rows(
        cli,
        "SELECT c.number, c.text, c.text = e.text AS is_kept, s.score FROM candidate AS c "
        "JOIN explanation AS e USING (run_id, layer, neuron) JOIN candidate_score AS s "
        "ON (s.run_id, s.layer, s.neuron, s.number) = (c.run_id, c.layer, c.neuron, c.number) "
        "WHERE s.stage = 'revise' ORDER BY c.layer, c.neuron, c.number",
    )
    assert len(found) == 2 * N_FEW
    for draft, revision in zip(found[::2], found[1::2], strict=True):
        assert revision["number"] == drafts > draft["number"]
        assert revision["text"] != draft["text"]
        assert revision["score"] == draft["score"]
        assert (draft["is_kept"], revision["is_kept"]) == (True, False)
