"""Taking over what became of a batch: answers to the ledger, the rest to the next batch."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import orjson
from sqlalchemy import RowMapping

from db import batch_requests, batches
from db.session import transaction
from neurogloss.errors import (
    NeuroglossError,
    NoCredit,
    RequestRejected,
    RunError,
    TransientError,
    UnknownModel,
)
from neurogloss.llm.batch_client import BatchClient
from neurogloss.llm.batch_results import PRICE_FACTOR, Outcome, Result, read_result
from neurogloss.llm.calls import Answer
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.parameter_support import ParameterSupport
from neurogloss.llm.responses import Completion, UnsupportedParameter
from worker.shard import RunJob
from worker.stages.ledger import PostgresLedger

log = logging.getLogger(__name__)

LINES_AT_ONCE = 200


def collect(errand: RunJob, endpoint: Endpoint, client: BatchClient, batch: RowMapping) -> None:
    """Take a batch over, if it has ended.

    Raises:
        RunError: It says that the whole run is affected.
        TransientError: The endpoint is away; what is stored already is not stored twice.
    """
    try:
        state = client.get(batch["batch_id"])
    except UnknownModel as error:  # 404
        log.warning("batch %s is gone: %s", batch["mark"], error)
        with transaction(errand.engine) as connection:
            batches.end(connection, batch, str(error), attempts=1)
        return
    match state["status"]:
        case "failed":
            _refused(errand, batch, state)
        case "completed" | "expired" | "cancelled":
            _Collection(errand, endpoint, client, batch, state).run()


def _refused(errand: RunJob, batch: RowMapping, state: dict[str, Any]) -> None:
    """Put the questions of a batch back that was not even begun."""
    errors = (state.get("errors") or {}).get("data") or [{}]
    code, message = str(errors[0].get("code")), str(errors[0].get("message"))[:300]
    with transaction(errand.engine) as connection:
        if code == "token_limit_exceeded":
            alone = batch["n_requests"] == 1
            batches.end(connection, batch, batches.TOO_MANY_TOKENS, attempts=int(alone))
        else:
            is_global = "billing" in code or "quota" in code
            batches.end(connection, batch, f"{code}: {message}", attempts=int(not is_global))
    log.warning("batch %s was not taken on: %s: %s", batch["mark"], code, message)
    if "billing" in code or "quota" in code:
        raise NoCredit(f"the endpoint took no batch on: {message} ({code})")


class _Collection:
    """One batch that has ended."""

    def __init__(
        self,
        errand: RunJob,
        endpoint: Endpoint,
        client: BatchClient,
        batch: RowMapping,
        state: dict[str, Any],
    ) -> None:
        self._errand, self._endpoint, self._client = errand, endpoint, client
        self._batch, self._state = batch, state
        self._ledger = PostgresLedger(errand.engine, errand.run_id)
        self._halting: RunError | None = None

    def run(self) -> None:
        """Store all results and end the batch.

        Raises:
            RunError: A result says that the whole run is affected; all are stored.
            TransientError: The endpoint is away.
        """
        for kind in ("output_file_id", "error_file_id"):
            if file_id := self._state.get(kind):
                self._store_file(file_id)
        status = self._state["status"]
        with transaction(self._errand.engine) as connection:
            batches.end(connection, self._batch, status, attempts=int(status == "completed"))
        self._delete_questions()
        if self._halting is not None:
            raise self._halting

    def _delete_questions(self) -> None:
        """Delete the file that we uploaded: all files of an account share one allowance."""
        try:
            self._client.delete(self._batch["file_id"])
        except NeuroglossError as error:
            log.warning("file %s is left at the endpoint: %s", self._batch["file_id"], error)

    def _store_file(self, file_id: str) -> None:
        try:
            with self._client.download(file_id) as lines:
                for results in _at_once(lines):
                    self._store(results)
        except UnknownModel as error:  # 404: the file has expired, so its questions are asked again
            log.warning("the results of batch %s are gone: %s", self._batch["mark"], error)

    def _store(self, results: Sequence[Result]) -> None:
        """Store results of questions that are in the batch still, in one transaction."""
        run_id = self._errand.run_id
        with transaction(self._errand.engine) as connection:
            identities = [result.identity for result in results]
            asked = batch_requests.asked_in(connection, self._batch["id"], identities)
            sorting = _Sorting(self._batch["model"], self._endpoint.api_key)
            for result in results:
                if (row := asked.pop(result.identity, None)) is not None:
                    sorting.add(row, result)
            answers = [self._answer(*found) for found in sorting.answered]
            self._ledger.save_in(connection, answers)
            batch_requests.answered(connection, run_id, [answer.identity for answer in answers])
            batch_requests.failed(connection, run_id, sorting.failed)
            batch_requests.ask_again(connection, run_id, sorting.again)
        self._halting = self._halting or sorting.halting

    def _answer(self, row: RowMapping, result: Result, reading: Completion) -> Answer:
        return reading.answer(
            identity=result.identity,
            purpose=row["purpose"],
            endpoint=self._endpoint,
            model=self._batch["model"],
            attempts=row["attempts"] + 1,
            latency_ms=self._latency_ms(),
            request_id=result.request_id,
            price_factor=PRICE_FACTOR,
        )

    def _latency_ms(self) -> int:
        """Return how long the batch took."""
        began, ended = self._state.get("created_at"), self._state.get(f"{self._state['status']}_at")
        if not (began and ended):
            return 0
        return int(min(max(0, 1000 * (ended - began)), 2**31 - 1))


def _at_once(lines: Iterable[bytes]) -> Iterator[list[Result]]:
    """Yield the results that lines hold, some at a time: a line may be large."""
    lines = iter(lines)
    while some := list(islice(lines, LINES_AT_ONCE)):
        yield [found for line in some if (found := read_result(line)) is not None]


class _Sorting:
    """Results by what follows from them."""

    def __init__(self, model: str, secret: str | None) -> None:
        self._model, self._secret = model, secret
        self.answered: list[tuple[RowMapping, Result, Completion]] = []
        self.failed: list[dict[str, Any]] = []
        self.again: list[batch_requests.Again] = []
        self.halting: RunError | None = None

    def add(self, row: RowMapping, result: Result) -> None:
        """Sort the result of a question. One that was not tried stays in its batch."""
        asked = orjson.loads(row["body"])
        self._add(row, asked, result, result.outcome(asked, self._secret))

    def _add(
        self, row: RowMapping, asked: Mapping[str, Any], result: Result, outcome: Outcome
    ) -> None:
        identity, body = result.identity, row["body"]
        match outcome:
            case Completion():
                self.answered.append((row, result, outcome))
            case RequestRejected() as error:
                failure = {"failure_class": error.failure_class, "message": str(error)}
                asked_by = {"identity": identity, "request_id": result.request_id}
                self.failed.append(asked_by | failure)
            case UnsupportedParameter() as error:
                self._add_without(row, asked, result, error)
            case RunError() as error:
                self.halting = error
                self.again.append(batch_requests.Again(identity, body, 0, str(error)))
            case TransientError() as error:
                self.again.append(batch_requests.Again(identity, body, 1, str(error)))

    def _add_without(
        self, row: RowMapping, asked: Mapping[str, Any], result: Result, error: UnsupportedParameter
    ) -> None:
        """Ask once more as the model takes it, if it can be asked so."""
        dialect = ParameterSupport()
        try:
            dialect.learn(error, asked, self._model)
        except (RequestRejected, RunError) as final:
            self._add(row, asked, result, final)
        else:
            body = orjson.dumps(dialect.adapt(asked))
            self.again.append(batch_requests.Again(result.identity, body, 1, error.parameter))
