"""Every query of docs/sql.md runs, and answers where the run has anything to answer with."""

import json
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "sql.md"
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
# Which a run without failures, workers, log probabilities, a second run or rivers cannot answer,
# and whose explanations are made up.
MAY_BE_EMPTY = (
    "worker_status", "attempts > 1", "failure", "covered", "'other'", "ILIKE", "HAVING",
    "above_lookup",
)  # fmt: skip
SOME_NEURON = "(3, (SELECT min(neuron) FROM neuron WHERE layer = 3))"


def test_the_page_has_the_queries_that_people_want():
    assert len(QUERIES) >= 20


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_a_query_of_the_page_is_answered(command, query):
    query = query.replace("'mine'", "'whole'").replace("(3, 418)", SOME_NEURON)
    code, output = command("sql", "--json", query)
    assert code == 0, output
    if not any(word in query for word in MAY_BE_EMPTY):
        assert json.loads(output), query
