"""Protections that can be taken out of a process, to see that the harness would miss them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mutation:
    """A protection, how it is taken out, and the kinds of faults that it protects from."""

    protection: str
    apply: Callable[[], None]
    kinds: tuple[str, ...]
    shard: int = 4  # neurons of one; in larger ones more answers are at stake


def _no_fencing() -> None:
    from sqlalchemy import Engine, event

    def unfenced(
        connection: Any, cursor: Any, statement: str, values: Any, context: Any, many: bool
    ) -> tuple[str, Any]:
        return statement.replace(" AND token = %(token)s AND state = 'leased'", ""), values

    event.listen(Engine, "before_cursor_execute", unfenced, retval=True)
    _no_lapse()


def _no_lapse() -> None:
    from worker.shard import Lease

    init = Lease.__init__
    Lease.__init__ = lambda self, process_stop, until: init(self, process_stop, math.inf)
    Lease.renew = lambda self, until: None


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


_STOPS = ("worker stopped and continued",)
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
        "answers are stored before they are parsed", _parse_before_storing, _KILLS, 24
    ),
    "outages": Mutation("an outage does not count against a shard", _every_error_counts, _BREAKS),
}
