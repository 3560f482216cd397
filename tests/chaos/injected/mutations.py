"""Protections that can be taken out of a process, to see that the harness would miss them."""

import math
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any


@dataclass(frozen=True)
class Mutation:
    """A protection, how it is taken out, and the kinds of faults that it protects from."""

    protection: str
    apply: Callable[[], None]
    kinds: tuple[str, ...]
    shard: int = 4  # neurons of one; in larger ones more answers are at stake
    seeds: tuple[int, ...] = tuple(range(6))  # of what variants the runs are
    faults: int = 6  # in each


def _rewrite(change: Callable[[str], str]) -> None:
    """Change every statement on its way to the database."""
    from sqlalchemy import Engine, event

    def changed(
        connection: Any, cursor: Any, statement: str, values: Any, context: Any, many: bool
    ) -> tuple[str, Any]:
        return change(statement), values

    event.listen(Engine, "before_cursor_execute", changed, retval=True)


def _no_fencing() -> None:
    _rewrite(lambda sql: sql.replace(" AND token = %(token)s AND state = 'leased'", ""))
    _no_lapse()


def _no_lapse() -> None:
    from worker.shard import Lease

    init = Lease.__init__
    Lease.__init__ = lambda self, process_stop, until: init(self, process_stop, math.inf)
    Lease.renew = lambda self, until: None


def _wait_for_locks() -> None:
    timeouts = re.compile(r"(idle_in_transaction_session|lock|statement)_timeout = \d+")
    _rewrite(lambda sql: timeouts.sub(r"\1_timeout = 0", sql).replace(" SKIP LOCKED", ""))


def _renew_with_waiting() -> None:
    _rewrite(lambda sql: sql.replace("FOR UPDATE OF shard SKIP LOCKED", "FOR UPDATE OF shard"))


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


def _cut_what_is_in_flight() -> None:
    from neurogloss.llm.call_session import CallSession

    end = CallSession.end
    CallSession.end = lambda self, error, grace_s: end(self, error, 0.0)


def _no_deadline() -> None:
    from neurogloss.llm import model_client

    @asynccontextmanager
    async def without_end(seconds: float) -> AsyncIterator[None]:
        yield

    model_client.within = without_end


def _no_size() -> None:
    from neurogloss.llm import model_client

    whole = model_client.whole
    model_client.whole = lambda response: whole(response, 1 << 40)


def _believe_usage() -> None:
    from neurogloss.llm import responses, usage

    def believed(said: Any) -> usage.Usage:
        said = said if isinstance(said, dict) else {}
        details = said.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else 0
        counts = said.get("prompt_tokens"), cached, said.get("completion_tokens")
        return usage.Usage(*(count or 0 for count in counts))

    responses.usage_in = believed


def _no_sweep() -> None:
    from db import shards

    shards.sweep = lambda connection, run_id: 0


def _no_conflict_clause() -> None:
    from db import bulk

    bulk.KEEP_THE_FIRST = ""


def _parse_before_storing() -> None:
    from neurogloss.llm import answer_writer, call_engine

    late: list[tuple[Any, Any]] = []
    run = call_engine.CallEngine.run

    async def store(self: Any, ledger: Any, answer: Any) -> None:
        late.append((ledger, answer))

    def run_then_store(*arguments: Any, **named: Any) -> Any:
        found = run(*arguments, **named)
        while late:
            ledger, answer = late.pop()
            ledger.save([answer])
        return found

    answer_writer.AnswerWriter.store = store
    call_engine.CallEngine.run = run_then_store


def _every_error_counts() -> None:
    from worker import process

    process.is_away = lambda error: False


def _no_spool() -> None:
    from worker.spool import Spool

    Spool.keep = lambda self, run_id, run, answers: None


def _believe_tokens() -> None:
    from neurogloss.llm import model_client, retrying_sender

    model_client.BELIEVED = retrying_sender.BELIEVED = 1 << 60


_STOPS = ("worker stopped and continued", "worker stopped with calls in flight")
_KILLS = ("worker killed",)
_BREAKS = ("database connections cut", "postgres restarted")
_ONLINE = (0, 1, 8, 9, 16, 17)
_BATCHED = (2, 3, 10, 11, 18, 19)

MUTATIONS = {
    "fencing": Mutation(
        "results are accepted from the latest claim only", _no_fencing, _STOPS, seeds=_ONLINE
    ),
    "lapse": Mutation(
        "a worker sends nothing once its lease ran out", _no_lapse, _STOPS, seeds=_ONLINE
    ),
    "sweep": Mutation("the shards of dead workers are taken back", _no_sweep, _KILLS),
    "idempotence": Mutation(
        "a row that is there already is left as it is", _no_conflict_clause, ("commit in doubt",)
    ),
    "storing": Mutation(
        "answers are stored before they are parsed",
        _parse_before_storing,
        _KILLS,
        shard=24,
        seeds=_ONLINE,
    ),
    "outages": Mutation("an outage does not count against a shard", _every_error_counts, _BREAKS),
    "locks": Mutation(
        "nothing waits for what a frozen process has locked",
        _wait_for_locks,
        ("worker stopped while committing",),
        seeds=tuple(range(0, 16, 2)),
        faults=2,  # or all workers are frozen, and nothing can go on
    ),
    "renewing": Mutation(
        "leases are renewed beside a commit of the same process",
        _renew_with_waiting,
        ("commit longer than a lease",),
        seeds=_ONLINE,
    ),
    "in flight": Mutation(
        "answers in flight are waited for when a lease ends",
        _cut_what_is_in_flight,
        _STOPS[1:],
        seeds=_ONLINE,
    ),
    "asking": Mutation(
        "who lost a shard asks nothing for it in batches",
        _ask_without_the_shard,
        ("worker stopped at a statement",),
        seeds=_BATCHED,
    ),
    "pausing": Mutation(
        "a paused run creates no batches",
        _create_while_paused,
        ("paused and resumed",),
        seeds=_BATCHED,
    ),
    "alone": Mutation(
        "one process at a time looks after the batches of a run",
        _no_lock_on_batches,
        ("worker stopped at a statement", "messages doubled"),
        seeds=_BATCHED,
    ),
    "deadline": Mutation(
        "an answer has a deadline", _no_deadline, ("endpoint drips",), seeds=_ONLINE
    ),
    "size": Mutation("an answer has a bound", _no_size, ("endpoint never ends",), seeds=_ONLINE),
    "usage": Mutation(
        "what a server says of usage is taken within bounds",
        _believe_usage,
        ("endpoint lies about usage",),
        seeds=_ONLINE,
    ),
    "tokens": Mutation(
        "calls do not wait for tokens that a server only says it used",
        _believe_tokens,
        ("endpoint lies about usage",),
        seeds=_ONLINE,
    ),
    "spool": Mutation(
        "answers that the database does not take are kept on disk",
        _no_spool,
        ("worker told to stop without database",),
        seeds=_ONLINE,
    ),
}
