"""Protections that no schedule of faults strikes soundly, and the test that misses each of them."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from tests.chaos.injected.rewriting import rewrite


@dataclass(frozen=True)
class TestedMutation:
    """A protection, how it is taken out, and the test that must fail without it."""

    __test__ = False  # for pytest: it is none

    protection: str
    apply: Callable[[], None]
    test: str


def _wait_for_locks() -> None:
    timeouts = re.compile(r"(idle_in_transaction_session|lock|statement)_timeout = \d+")
    rewrite(lambda sql: timeouts.sub(r"\1_timeout = 0", sql).replace(" SKIP LOCKED", ""))


def _renew_with_waiting() -> None:
    rewrite(lambda sql: sql.replace("FOR UPDATE OF shard SKIP LOCKED", "FOR UPDATE OF shard"))


def _no_lock_on_batches() -> None:
    from db.run_locks import RunLock

    RunLock.try_acquire = lambda self, run_id: True
    RunLock.is_held = lambda self, connection, run_id: True


def _ask_without_the_shard() -> None:
    from db import shards

    shards.hold = lambda connection, held: True


def _create_while_paused() -> None:
    from worker.stages.batches import advance

    get = advance.runs.get
    advance.runs = SimpleNamespace(get=lambda *at: replace(get(*at), state="running"))


def _pay_as_if_alone() -> None:
    from neurogloss.llm.claims import Claims

    exchanged = Claims.exchanged
    Claims.exchanged = lambda self, elsewhere: exchanged(self, set())


def _hold_for_ever() -> None:
    from worker.run_state import RunBudget

    hold = RunBudget.hold
    RunBudget.hold = lambda self, reserved, wanted: replace(
        hold(self, reserved, wanted), is_valid=lambda: True
    )


def _forget_newer_claims() -> None:
    from worker.held_shards import HeldShards

    add, drop = HeldShards.add, HeldShards.drop
    newest: dict[int, Any] = {}

    def remember(self: Any, shard: Any) -> None:
        newest[shard.claim.shard_id] = shard
        add(self, shard)

    HeldShards.add = remember
    HeldShards.drop = lambda self, shard: drop(self, newest[shard.claim.shard_id])


def _watch_until_an_error() -> None:
    from neurogloss.llm import call_session

    def end(message: str, **fields: Any) -> None:
        raise RuntimeError(message)

    call_session.log = SimpleNamespace(warning=end)


def _bring_back() -> None:
    from sqlalchemy import text

    from db import runs
    from orchestrator.runs import create

    create.refuse_cancelled = lambda run: None

    def resume(connection: Any, run_id: int) -> bool:
        statement = text("UPDATE run SET state = 'running' WHERE id = :run")
        return bool(connection.execute(statement, {"run": run_id}).rowcount)

    runs.resume = resume


def _own_everything() -> None:
    from orchestrator import backup

    backup.foreign_objects = lambda connection: []


def _try_any_version() -> None:
    from neurogloss.errors import TransientError
    from worker import run

    class Other(TransientError):
        pass

    run.OtherVersion = Other


def _keep_keys() -> None:
    from neurogloss.llm import responses, server_text

    server_text.without_key = responses.without_key = lambda text, secret: text


def _take_any_size() -> None:
    from db import read_only
    from db.bounded_values import bounded

    read_only.bounded = lambda query, columns, longest: bounded(query, columns, 1 << 30)


TESTED = {
    "locks": TestedMutation(
        "nothing waits for what a frozen process has locked",
        _wait_for_locks,
        "tests/integration/db/test_frozen_workers.py"
        "::test_a_tick_does_not_wait_for_a_shard_that_is_being_committed",
    ),
    "renewing": TestedMutation(
        "leases are renewed beside a commit of the same process",
        _renew_with_waiting,
        "tests/integration/db/test_frozen_workers.py"
        "::test_leases_are_renewed_while_another_shard_of_the_process_is_committed",
    ),
    "asking": TestedMutation(
        "who lost a shard asks nothing for it in batches",
        _ask_without_the_shard,
        "tests/integration/batches/test_stopped_batches.py"
        "::test_a_worker_that_lost_its_shard_asks_nothing_again",
    ),
    "pausing": TestedMutation(
        "a paused run creates no batches",
        _create_while_paused,
        "tests/integration/batches/test_stopped_batches.py"
        "::test_a_run_that_stops_while_batches_are_created_creates_no_more",
    ),
    "alone": TestedMutation(
        "one process at a time looks after the batches of a run",
        _no_lock_on_batches,
        "tests/integration/batches/test_batches.py"
        "::test_only_one_looks_after_the_batches_at_a_time",
    ),
    "claims": TestedMutation(
        "two processes do not pay for one answer",
        _pay_as_if_alone,
        "tests/integration/llm/test_claims.py"
        "::test_a_question_that_two_processes_ask_at_once_is_paid_once",
    ),
    "holds": TestedMutation(
        "a hold on the budget ends in the process when it does in the database",
        _hold_for_ever,
        "tests/integration/db/test_budget_holds.py"
        "::test_a_hold_expires_in_the_process_no_later_than_in_the_database",
    ),
    "newer claims": TestedMutation(
        "an older claim takes no newer one with it",
        _forget_newer_claims,
        "tests/integration/db/test_frozen_workers.py"
        "::test_a_shard_that_is_claimed_again_is_remembered_when_its_older_thread_ends",
    ),
    "watching": TestedMutation(
        "the watch over pauses outlives errors of any kind",
        _watch_until_an_error,
        "tests/integration/llm/test_call_engine.py"
        "::test_calls_end_though_the_state_of_the_run_cannot_be_read",
    ),
    "cancelling": TestedMutation(
        "a run that was cancelled is not brought back",
        _bring_back,
        "tests/integration/orchestrator/test_control.py"
        "::test_a_run_that_is_cancelled_while_a_command_begins_is_not_brought_back",
    ),
    "foreign": TestedMutation(
        "a database that holds what is foreign is not restored into",
        _own_everything,
        "tests/integration/db/test_schema.py::test_restore_does_not_drop_what_belongs_to_others",
    ),
    "versions": TestedMutation(
        "a run of a later version pauses before it is claimed",
        _try_any_version,
        "tests/integration/workers/test_paid_calls.py"
        "::test_a_worker_pauses_a_run_of_a_later_version_before_it_claims",
    ),
    "keys": TestedMutation(
        "a key that a server repeats is taken out",
        _keep_keys,
        "tests/unit/llm/test_repeated_keys.py::test_a_key_that_a_server_repeats_is_in_no_error",
    ),
    "values": TestedMutation(
        "a value of a query has a bound",
        _take_any_size,
        "tests/integration/db/test_read_only.py"
        "::test_the_server_cuts_a_value_that_is_too_long_and_its_neighbours_stay",
    ),
}
