"""Asking language models, with every answer in the database before it is read."""

import atexit
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from db import runs
from db.results import FailureRow
from db.session import transaction
from neurogloss.config.run import RunConfig
from neurogloss.errors import BadCredentials, Interrupted, RowError
from neurogloss.llm.budget import Budget
from neurogloss.llm.call_engine import CallEngine
from neurogloss.llm.call_session import LiveLimits, RunContext
from neurogloss.llm.calls import Answer, Call
from neurogloss.llm.endpoint import Endpoint, Price
from worker.shard import ClaimedShard
from worker.stages.batches.requests import answers_from_batches
from worker.stages.ledger import PostgresLedger, RunBudget, RunState

T = TypeVar("T")

MAX_MESSAGE = 2000  # characters of a failure that are stored

_lock = threading.Lock()
_engine: CallEngine | None = None


@dataclass(slots=True)
class _Shared:
    """What the shards of a run that ask in this process share, and how many they are."""

    account: RunContext
    ledger: PostgresLedger
    users: int = 0


_shared: dict[int, _Shared] = {}


def ask(shard: ClaimedShard, endpoint: str, questions: Sequence[Call]) -> list[Answer | RowError]:
    """Return the answers in the order of the calls; those stored already are not asked again.

    Raises:
        RunError: The whole run is affected, and paused.
        Interrupted: The worker was told to stop, or the run was paused.
        Waiting: The questions are put into batches, and are not all answered.
    """
    if not questions:
        return []
    found = endpoint_of(shard.config, endpoint, os.environ)
    if shard.config.endpoints[endpoint].mode == "batch":
        return answers_from_batches(shard, found, questions)
    with _account_of(shard) as account:
        return _the_engine().run(found, questions, account, shard.lease.has_ended)


def ask_and_read(
    shard: ClaimedShard,
    endpoint: str,
    questions: Sequence[Call],
    read: Callable[[Sequence[Answer | RowError]], tuple[T, Collection[int]]],
) -> T:
    """Return what `read` makes of the answers to all calls.

    What cannot be read is asked once more, also at temperature 0, where hosted models do not repeat
    themselves exactly. What the first answer cost is counted as wasted then.

    Args:
        shard: The shard.
        endpoint: Its name in the configuration.
        questions: Of one model.
        read: Takes the answers in the order of the calls, and returns what it makes of them and the
            places of those that do not hold what was asked for.

    Raises:
        RunError: The whole run is affected, and paused.
        Interrupted: The worker was told to stop, or the run was paused.
    """
    answers = ask(shard, endpoint, questions)
    found, unread = read(answers)
    if unread:
        useless = [a.identity for place in unread if isinstance(a := answers[place], Answer)]
        PostgresLedger(shard.engine, shard.claim.run_id).waste(useless)
        again = ask(shard, endpoint, [replace(questions[place], again=1) for place in unread])
        for place, answer in zip(unread, again, strict=True):
            answers[place] = answer
        found, _ = read(answers)
    return found


def failure_row(shard: ClaimedShard, neuron: int, error: RowError) -> FailureRow:
    """Return the row that says why a neuron has no result in the shard's stage."""
    claim = shard.claim
    return FailureRow(
        run_id=claim.run_id,
        stage=claim.stage,
        layer=claim.layer,
        neuron=neuron,
        failure_class=error.failure_class,
        message=error.reason[:MAX_MESSAGE],
        attempts=error.attempts,
        request_id=error.request_id,
    )


def endpoint_of(config: RunConfig, name: str, env: Mapping[str, str]) -> Endpoint:
    """Return an endpoint of the configuration, with its key from the environment.

    Raises:
        BadCredentials: The variable that should hold the key is not set, or holds no key.
    """
    found = config.endpoints[name]
    key = env.get(found.api_key_env) if found.api_key_env else None
    if found.api_key_env and not key:
        raise BadCredentials(f"{found.api_key_env} is not set, which endpoint {name!r} needs")
    if key and not all("!" <= character <= "~" for character in key):
        raise BadCredentials(
            f"{found.api_key_env} holds a space, a line break or another character no key has"
        )
    return Endpoint(
        name=name,
        base_url=found.base_url,
        api_key=key,
        requests_per_minute=found.requests_per_minute,
        tokens_per_minute=found.tokens_per_minute,
        max_in_flight=found.max_in_flight,
        prices={model: Price(**price.model_dump()) for model, price in found.prices.items()},
        timeout_s=found.timeout_s,
    )


def _the_engine() -> CallEngine:
    """Return this process's engine, which is closed at its exit."""
    global _engine
    with _lock:
        if _engine is None:
            _engine = CallEngine(os.environ["REDIS_URL"])
            atexit.register(_engine.close)
        return _engine


def _terms(engine: Engine, run_id: int, endpoint: Endpoint) -> LiveLimits | None:
    """Return the terms of an endpoint by now; None where nobody can say."""
    try:
        with transaction(engine) as connection:
            run = runs.get(connection, run_id)
        config = RunConfig.model_validate(run["config"])
        return LiveLimits(endpoint_of(config, endpoint.name, os.environ), run["budget_usd"])
    except (OperationalError, BadCredentials):  # the next shard says what is wrong with a key
        return None


@contextmanager
def _account_of(shard: ClaimedShard) -> Iterator[RunContext]:
    """Yield what a run's shards in this process share while any of them asks.

    Raises:
        Interrupted: The run was paused here, and what was in flight then still is.
    """
    run_id = shard.claim.run_id
    budget = RunBudget(shard.engine, run_id)
    with _lock:
        if run_id not in _shared:
            _shared[run_id] = _share(shard.engine, run_id, budget)
        shared = _shared[run_id]
        if shared.account.halted is not None:
            raise Interrupted("the run is paused")
        shared.users += 1
    try:
        yield shared.account
    finally:
        with _lock:
            shared.users -= 1
            if not shared.users:
                del _shared[run_id]
                shared.ledger.close()
                budget.release()


def _share(engine: Engine, run_id: int, budget: RunBudget) -> _Shared:
    state = RunState(engine, run_id)
    ledger = PostgresLedger(engine, run_id)
    terms = partial(_terms, engine, run_id)
    return _Shared(RunContext(ledger, Budget(budget), state.pause, state.is_running, terms), ledger)
