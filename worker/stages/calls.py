"""Asking language models, with every answer in the database before it is read."""

import os
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Engine

from db import calls, progress
from db.session import transaction
from worker.api.calls import Answer, Call
from worker.api.endpoint import Endpoint, Price
from worker.api.engine import CallEngine
from worker.api.limiter import limiter_for
from worker.errors import BadCredentials, BudgetReached, RowError
from worker.run_config import RunConfig
from worker.shard_work import ShardWork

_engines: dict[tuple[int, str, str], CallEngine] = {}
_lock = threading.Lock()
_ANSWER_FIELDS = {field.name for field in fields(Answer)} - {"reused"}


def ask(work: ShardWork, endpoint: str, questions: Sequence[Call]) -> list[Answer | RowError]:
    """Return the answers in the order of the calls; those stored already are not asked again.

    Raises:
        RunError: The whole run is affected.
        Interrupted: The worker was told to stop.
    """
    if not questions:
        return []
    engine = _engine(work, endpoint, questions[0].model)
    return engine.run(questions, stop=work.stop, reserve=_Budget(work))


def failure_row(work: ShardWork, neuron: int, error: RowError) -> tuple[Any, ...]:
    """Return the row of `failure` that says why a neuron has no result."""
    claim = work.claim
    where = (claim.run_id, claim.stage, claim.layer, neuron)
    return (*where, error.failure_class, error.reason[:2000], error.attempts, error.request_id)


def endpoint_of(config: RunConfig, name: str, env: Mapping[str, str]) -> Endpoint:
    """Return an endpoint of the configuration, with its key from the environment.

    Raises:
        BadCredentials: The variable that should hold the key is not set.
    """
    found = config.endpoints[name]
    key = env.get(found.api_key_env) if found.api_key_env else None
    if found.api_key_env and not key:
        raise BadCredentials(f"{found.api_key_env} is not set, which endpoint {name!r} needs")
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


def _engine(work: ShardWork, name: str, model: str) -> CallEngine:
    """Return this process's engine for an endpoint and model as the run has them now."""
    settings = work.config.endpoints[name].model_dump_json()
    with _lock:
        key = (work.claim.run_id, model, settings)
        if key not in _engines:
            endpoint = endpoint_of(work.config, name, os.environ)
            ledger = PostgresLedger(work.engine, work.claim.run_id)
            limiter = limiter_for(endpoint, model, os.environ["REDIS_URL"])
            _engines[key] = CallEngine(endpoint, limiter, ledger)
        return _engines[key]


class PostgresLedger:
    """The table of calls, for one run."""

    def __init__(self, engine: Engine, run_id: int) -> None:
        self._engine, self._run_id = engine, run_id

    def find(self, identities: Sequence[bytes]) -> dict[bytes, Answer]:
        """Return the answers to these questions that any run has paid for."""
        with transaction(self._engine) as connection:
            rows = calls.find(connection, identities)
        return {
            row["identity"]: Answer(**{k: row[k] for k in _ANSWER_FIELDS}, reused=True)
            for row in rows
        }

    def save(self, answers: Sequence[Answer]) -> None:
        """Store answers and what they cost; committed when it returns."""
        with transaction(self._engine) as connection:
            rows = [self._row(answer) for answer in answers]
            calls.save(connection, rows)
            progress.add_spend(connection, self._run_id, _spend(answers))

    def _row(self, answer: Answer) -> tuple[Any, ...]:
        return tuple(
            self._run_id if column == "run_id" else getattr(answer, column)
            for column in calls.CALL_COLUMNS
        )


def _spend(answers: Sequence[Answer]) -> list[dict[str, object]]:
    sums: dict[tuple[str, str], dict[str, Any]] = defaultdict(lambda: defaultdict(int))
    for answer in answers:
        row = sums[answer.purpose, answer.model]
        row["calls"] += 1
        for column in ("prompt_tokens", "cached_tokens", "completion_tokens", "usd", "wasted_usd"):
            row[column] += getattr(answer, column)
    return [{"stage": stage, "model": model, **row} for (stage, model), row in sums.items()]


class _Budget:
    """Refuses a call that the run's budget may not cover, by what is stored and what is out."""

    def __init__(self, work: ShardWork) -> None:
        self._limit = work.run["budget_usd"]
        self._reserved = 0.0
        if self._limit is not None:
            with transaction(work.engine) as connection:
                self._spent = progress.spent(connection, work.claim.run_id)

    def __call__(self, usd: float) -> None:
        if self._limit is None:
            return
        if self._spent + self._reserved + usd > self._limit:
            raise BudgetReached(
                f"the budget of {self._limit:.2f} USD is reached ({self._spent:.2f} USD spent)"
            )
        self._reserved += usd
