"""Collecting a batch that has ended: answers into the ledger, other calls into the next batch."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

import orjson

from db import batch_requests, batches, progress
from db.batch_requests import SentRequest
from db.batches import StoredBatch
from db.session import transaction
from neurogloss.errors import (
    ContextExceeded,
    NeuroglossError,
    NoCredit,
    RequestRejected,
    RowError,
    RunError,
    TransientError,
    UnknownModel,
)
from neurogloss.llm.batch_client import BatchClient
from neurogloss.llm.batch_results import BatchOutcome, Result, read_result
from neurogloss.llm.bounded_http import ANSWER_BYTES
from neurogloss.llm.calls import Answer
from neurogloss.llm.context_length import LengthJudge
from neurogloss.llm.endpoint import BATCH_PRICE_FACTOR, Endpoint
from neurogloss.llm.parameter_support import ParameterSupport
from neurogloss.llm.responses import Completion, UnsupportedParameter
from neurogloss.llm.server_text import server_text
from worker.ledger import PostgresLedger
from worker.shard import RunJob

log = logging.getLogger(__name__)

LINES_AT_ONCE = 200  # in one transaction
BYTES_AT_ONCE = 64 << 20  # in memory, and a line more


def batch_fields(job: RunJob, batch: StoredBatch) -> dict[str, object]:
    """Return the fields of events about a batch; `batch` is the mark under which it was created."""
    return {"run": job.config.name, "batch": batch.mark, "endpoint": batch.endpoint}


def collect(job: RunJob, endpoint: Endpoint, client: BatchClient, batch: StoredBatch) -> None:
    """Collect a batch, if it has ended.

    Raises:
        RunError: A result concerns the whole run.
        TransientError: The endpoint is away. Results that are stored are not stored twice later.
    """
    try:
        state = client.get(str(batch.batch_id))
    except UnknownModel as error:  # 404
        log.warning("batch gone", extra=batch_fields(job, batch) | {"reason": str(error)})
        with transaction(job.engine) as connection:
            batches.end(connection, batch, str(error), attempts=1)
        return
    match state["status"]:
        case "failed":
            _refused(job, endpoint, batch, state)
        case "completed" | "expired" | "cancelled":
            _Collection(job, endpoint, client, batch, state).run()


def _refused(job: RunJob, endpoint: Endpoint, batch: StoredBatch, state: dict[str, Any]) -> None:
    """Put the calls of a batch back that the endpoint has not begun."""
    errors = (state.get("errors") or {}).get("data") or [{}]
    code, message = (server_text(errors[0].get(k), endpoint.api_key) for k in ("code", "message"))
    is_credit = "billing" in code or "quota" in code
    with transaction(job.engine) as connection:
        if code == "token_limit_exceeded":
            # A smaller batch may fit, unless it is a single call.
            is_single = batch.n_requests == 1
            batches.end(connection, batch, batches.TOO_MANY_TOKENS, attempts=int(is_single))
        else:
            batches.end(connection, batch, f"{code}: {message}", attempts=int(not is_credit))
    reason = {"reason": f"{code}: {message}"}
    log.warning("batch refused", extra=batch_fields(job, batch) | reason)
    if is_credit:
        raise NoCredit(f"the endpoint refused a batch: {message} ({code})")


class _Collection:
    """One batch that has ended."""

    def __init__(
        self,
        job: RunJob,
        endpoint: Endpoint,
        client: BatchClient,
        batch: StoredBatch,
        state: dict[str, Any],
    ) -> None:
        self._job, self._endpoint, self._client = job, endpoint, client
        self._batch, self._state = batch, state
        self._ledger = PostgresLedger(job.engine, job.run_id)
        self._run_error: RunError | None = None
        with transaction(job.engine) as connection:
            answered = progress.answered_stages(connection, job.run_id, batch.model)
        self._lengths = LengthJudge(endpoint.name, answered)

    def run(self) -> None:
        """Store all results and end the batch.

        Raises:
            RunError: A result concerns the whole run; all results are stored.
            TransientError: The endpoint is away.
        """
        for kind in ("output_file_id", "error_file_id"):
            if file_id := self._state.get(kind):
                self._store_file(file_id)
        # Calls that the files lack are still in the batch; ending it puts them into the next one.
        # In an expired or cancelled batch they were not tried, which counts against none of them.
        status = self._state["status"]
        with transaction(self._job.engine) as connection:
            batches.end(connection, self._batch, status, attempts=int(status == "completed"))
        fields = {"outcome": status, "calls": self._batch.n_requests}
        log.info("batch collected", extra=batch_fields(self._job, self._batch) | fields)
        self._delete_input_file()
        if self._run_error is not None:
            raise self._run_error

    def _delete_input_file(self) -> None:
        """Delete the file that was uploaded: all files of an account share one allowance."""
        try:
            self._client.delete(str(self._batch.file_id))
        except NeuroglossError as error:
            fields = {"file": self._batch.file_id, "reason": str(error)}
            log.warning(
                "file left at the endpoint", extra=batch_fields(self._job, self._batch) | fields
            )

    def _store_file(self, file_id: str) -> None:
        try:
            with self._client.download(file_id) as file:
                for results in _in_chunks(file, self._endpoint.api_key):
                    self._store(results)
        except UnknownModel as error:  # 404: the file has expired, so its calls are made again
            fields = batch_fields(self._job, self._batch) | {"reason": str(error)}
            log.warning("results of batch gone", extra=fields)

    def _store(self, results: Sequence[Result]) -> None:
        """Store results of calls that are still in the batch, in one transaction."""
        run_id = self._job.run_id
        with transaction(self._job.engine) as connection:
            identities = [result.identity for result in results]
            requests = batch_requests.asked_in(connection, self._batch.id, identities)
            secret = self._endpoint.api_key
            sorted_results = _SortedResults(self._batch.model, secret, self._lengths)
            for result in results:
                if (row := requests.pop(result.identity, None)) is not None:
                    sorted_results.add(row, result)
            sorted_results.judge_lengths()
            answers = [self._answer(*answered) for answered in sorted_results.answered]
            self._ledger.save_in(connection, answers)
            batch_requests.answered(connection, run_id, [answer.identity for answer in answers])
            batch_requests.failed(connection, run_id, sorted_results.failed)
            batch_requests.ask_again(connection, run_id, sorted_results.again)
        self._run_error = self._run_error or sorted_results.run_error

    def _answer(self, row: SentRequest, result: Result, completion: Completion) -> Answer:
        return completion.answer(
            identity=result.identity,
            purpose=row.purpose,
            endpoint=self._endpoint,
            model=self._batch.model,
            attempts=row.attempts + 1,
            latency_ms=self._latency_ms(),
            request_id=result.request_id,
            price_factor=BATCH_PRICE_FACTOR,
        )

    def _latency_ms(self) -> int:
        """Return how long the batch took; 0 if the endpoint does not say."""
        began, ended = self._state.get("created_at"), self._state.get(f"{self._state['status']}_at")
        if not (began and ended):
            return 0
        # Within the column's range, whatever times the endpoint states.
        return int(min(max(0, 1000 * (ended - began)), 2**31 - 1))


def _in_chunks(file: IO[bytes], secret: str | None) -> Iterator[list[Result]]:
    """Yield the results that lines hold: of `LINES_AT_ONCE` of them, or of `BYTES_AT_ONCE`."""
    results: list[Result | None] = []
    size = 0
    # A line that is longer than an answer may be comes in pieces, which are no results.
    for line in iter(lambda: file.readline(ANSWER_BYTES), b""):
        results.append(read_result(line, secret))
        size += len(line)
        if len(results) >= LINES_AT_ONCE or size >= BYTES_AT_ONCE:
            yield [result for result in results if result is not None]
            results, size = [], 0
    yield [result for result in results if result is not None]


class _SortedResults:
    """Results by what happens to their calls."""

    def __init__(self, model: str, secret: str | None, lengths: LengthJudge) -> None:
        self._model, self._secret, self._lengths = model, secret, lengths
        self._too_long: dict[str, list[tuple[SentRequest, Result, ContextExceeded]]] = {}
        self.answered: list[tuple[SentRequest, Result, Completion]] = []
        self.failed: list[batch_requests.Unanswerable] = []
        self.again: list[batch_requests.Again] = []
        self.run_error: RunError | None = None

    def add(self, row: SentRequest, result: Result) -> None:
        """Add the result of a call. A call that was not tried stays in its batch."""
        request = orjson.loads(row.body)
        outcome = result.outcome(request, self._secret)
        if outcome is not None:
            self._add(row, request, result, outcome)

    def _add(
        self, row: SentRequest, request: Mapping[str, Any], result: Result, outcome: BatchOutcome
    ) -> None:
        identity, body = result.identity, row.body
        match outcome:
            case Completion():
                self.answered.append((row, result, outcome))
                self._lengths.answered(row.purpose)
            case ContextExceeded() as error:
                self._too_long.setdefault(row.purpose, []).append((row, result, error))
            case RowError() as error:
                self._fail(result, error)
            case UnsupportedParameter() as error:
                self._add_without(row, request, result, error)
            case RunError() as error:
                self.run_error = error
                self.again.append(batch_requests.Again(identity, body, 0, str(error)))
            case TransientError() as error:
                self.again.append(batch_requests.Again(identity, body, 1, str(error)))

    def _fail(self, result: Result, error: RowError) -> None:
        why = (error.failure_class, str(error), result.request_id)
        self.failed.append(batch_requests.Unanswerable(result.identity, *why))

    def judge_lengths(self) -> None:
        """Let questions that are too long fail; where all seem to be, they wait, and the run too.

        Called once all results are added, because their order in a batch is any.
        """
        for purpose, too_long in self._too_long.items():
            judged = [
                self._lengths.too_long(purpose, self._model, error) for _, _, error in too_long
            ]
            self.run_error = judged[-1] or self.run_error
            for row, result, error in too_long:
                if judged[-1] is None:
                    self._fail(result, error)
                else:
                    again = batch_requests.Again(result.identity, row.body, 0, str(error))
                    self.again.append(again)

    def _add_without(
        self,
        row: SentRequest,
        request: Mapping[str, Any],
        result: Result,
        error: UnsupportedParameter,
    ) -> None:
        """Repeat a call without the parameter, if it can do without."""
        support = ParameterSupport()
        try:
            support.record_refusal(error, request, self._model)
        except (RequestRejected, RunError) as final:
            self._add(row, request, result, final)
        else:
            body = orjson.dumps(support.adapt(request))
            self.again.append(batch_requests.Again(result.identity, body, 1, error.parameter))
