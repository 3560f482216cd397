"""Every saved query runs, and answers where the run has anything to answer with."""

import json

import pytest

from db.saved_queries import saved_queries

QUERIES = [query.about("whole") for query in saved_queries()]
# Which a run without failures, workers, log probabilities, controls, a second run or rivers cannot
# answer, and whose explanations are made up.
MAY_BE_EMPTY = (
    "worker_status", "attempts > 1", "failure", "covered", "'other'", "ILIKE", "HAVING",
    "above_lookup", "control_score",
)  # fmt: skip
SOME_NEURON = "(3, (SELECT min(neuron) FROM neuron WHERE layer = 3))"


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_a_saved_query_is_answered(command, query):
    query = query.replace("(3, 418)", SOME_NEURON)
    code, output = command("sql", "--json", query)
    assert code == 0, output
    if not any(word in query for word in MAY_BE_EMPTY):
        assert json.loads(output), query
