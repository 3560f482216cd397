"""Protections that can be taken out of a process, to see that the harness would miss them."""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.chaos.injected.rewriting import rewrite


@dataclass(frozen=True)
class Mutation:
    """A protection, how it is taken out, and the kinds of faults that it protects from."""

    protection: str
    apply: Callable[[], None]
    kinds: tuple[str, ...]
    shard: int = 4  # neurons of one; in larger ones more answers are at stake
    seeds: tuple[int, ...] = (0, 8, 16, 24)  # of runs without further stages, asked online
    faults: int = 6  # in each


def _no_fencing() -> None:
    rewrite(lambda sql: sql.replace(" AND token = %(token)s AND state = 'leased'", ""))
    _no_lapse()


def _no_lapse() -> None:
    from worker.shard import Lease

    init = Lease.__init__
    Lease.__init__ = lambda self, process_stop, until: init(self, process_stop, math.inf)
    Lease.renew = lambda self, until: None


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

    def believed(said: Any) -> usage.TokenUsage:
        said = said if isinstance(said, dict) else {}
        details = said.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else 0
        counts = said.get("prompt_tokens"), cached, said.get("completion_tokens")
        return usage.TokenUsage(*(count or 0 for count in counts))

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

MUTATIONS = {
    "fencing": Mutation("results are accepted from the latest claim only", _no_fencing, _STOPS),
    "lapse": Mutation("a worker sends nothing once its lease ran out", _no_lapse, _STOPS),
    "sweep": Mutation("the shards of dead workers are taken back", _no_sweep, _KILLS),
    "idempotence": Mutation(
        "a row that is there already is left as it is", _no_conflict_clause, ("commit in doubt",)
    ),
    "storing": Mutation(
        "answers are stored before they are parsed",
        _parse_before_storing,
        _KILLS,
        shard=24,
    ),
    "outages": Mutation("an outage does not count against a shard", _every_error_counts, _BREAKS),
    "in flight": Mutation(
        "answers in flight are waited for when a lease ends",
        _cut_what_is_in_flight,
        _STOPS[1:],
    ),
    "deadline": Mutation("an answer has a deadline", _no_deadline, ("endpoint drips",)),
    "size": Mutation("an answer has a bound", _no_size, ("endpoint never ends",)),
    "usage": Mutation(
        "what a server says of usage is taken within bounds",
        _believe_usage,
        ("endpoint lies about usage",),
    ),
    "tokens": Mutation(
        "calls do not wait for tokens that a server only says it used",
        _believe_tokens,
        ("endpoint lies about usage",),
    ),
    "spool": Mutation(
        "answers that the database does not take are kept on disk",
        _no_spool,
        ("worker told to stop without database",),
    ),
}
