"""Calls that are tried again, as processes store them."""

from sqlalchemy import text

from db.session import transaction
from db.unanswered import RetriedCalls, replace_retried, unanswered


def test_retried_calls_of_processes_add_up_and_dead_ones_do_not_count(engine, run_id):
    with transaction(engine) as connection:
        for process, n in (("a", 2), ("b", 3), ("dead", 50)):
            calls = [RetriedCalls("explain", "here", "m", n, f"because of {process}")]
            replace_retried(connection, run_id, process, calls)
        old = "UPDATE retried_calls SET seen_at = now() - interval '2 minutes'"
        connection.execute(text(f"{old} WHERE process = 'dead'"))
    with transaction(engine) as connection:
        (calls,) = unanswered(connection, "r")
        assert (calls.retried, calls.reason, calls.requests) == (5, "because of b", {})
        for process in ("a", "b"):
            replace_retried(connection, run_id, process, [])
        assert unanswered(connection, "r") == []
