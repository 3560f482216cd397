"""The calls of a stage: every answer is in the database before the stage reads it."""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from db.results import FailureRow
from neurogloss.errors import Malformed, RowError, Truncated
from neurogloss.llm.calls import Answer, Call, CallOutcome
from neurogloss.llm.endpoint import BATCH_PRICE_FACTOR
from worker.ledger import PostgresLedger
from worker.shard import ClaimedShard
from worker.stages.batches.requests import answers_from_batches

T = TypeVar("T")

MAX_MESSAGE = 2000  # characters of a failure that are stored


def ask(shard: ClaimedShard, endpoint_name: str, calls: Sequence[Call]) -> list[CallOutcome]:
    """Return the outcomes of calls to one model, in their order. Stored answers are not paid again.

    Raises:
        RunError: The whole run is affected, and paused.
        Interrupted: The worker was told to stop, or the run was paused.
        Waiting: The calls are put into batches, and are not all answered.
    """
    if not calls:
        return []
    endpoint = shard.calls.endpoint(shard.config, endpoint_name)
    if shard.config.endpoints[endpoint_name].mode == "batch":
        return answers_from_batches(shard, endpoint, calls)
    with shard.calls.run_context(shard.engine, shard.run) as context:
        lease = shard.lease
        return shard.calls.engine().run(
            endpoint, calls, context, lease.has_ended, lease.process_stops
        )


def ask_and_read(
    shard: ClaimedShard,
    endpoint_name: str,
    calls: Sequence[Call],
    read: Callable[[Sequence[CallOutcome]], tuple[T, Collection[int]]],
) -> T:
    """Return what `read` makes of the outcomes of all calls.

    A call whose answer cannot be read is made once more, also at temperature 0, where hosted models
    do not repeat themselves exactly. What the first answer cost counts as wasted then.

    Args:
        shard: The shard.
        endpoint_name: As the configuration has it.
        calls: To one model.
        read: Takes the outcomes in the order of the calls. Returns what it makes of them, and the
            positions of the answers that do not hold what was asked for.

    Raises:
        RunError, Interrupted, Waiting: As `ask` does.
    """
    outcomes = ask(shard, endpoint_name, calls)
    result, unread = read(outcomes)
    if unread:
        useless = [a.identity for place in unread if isinstance(a := outcomes[place], Answer)]
        # Before the second call, so that the waste is counted even if this process dies in between.
        PostgresLedger(shard.engine, shard.claim.run_id).waste(useless)
        # `again` gives the call another identity: the ledger would return the first answer
        # otherwise.
        again = ask(shard, endpoint_name, [replace(calls[place], again=1) for place in unread])
        for place, outcome in zip(unread, again, strict=True):
            outcomes[place] = outcome
        result, _ = read(outcomes)
    return result


def ask_each(
    shard: ClaimedShard,
    endpoint_name: str,
    calls: Sequence[Call],
    read: Callable[[str], T],
    read_cut_off: Callable[[str], T] | None = None,
) -> list[tuple[T, bytes] | RowError]:
    """Return what `read` makes of the text of each answer, with the identity of its call.

    Args:
        shard: The shard.
        endpoint_name: As the configuration has it.
        calls: To one model.
        read: Raises Malformed if a text does not hold what was asked for.
        read_cut_off: The same for a text that was cut off, where that is of use.

    Raises:
        RunError, Interrupted, Waiting: As `ask` does.
    """
    kept: set[bytes] = set()

    def read_all(
        outcomes: Sequence[CallOutcome],
    ) -> tuple[list[tuple[T, bytes] | RowError], list[int]]:
        results = [_read(outcome, read, read_cut_off) for outcome in outcomes]
        for outcome, result in zip(outcomes, results, strict=True):
            if isinstance(outcome, Truncated) and not isinstance(result, RowError):
                kept.add(outcome.identity)
        return results, [i for i, result in enumerate(results) if isinstance(result, Malformed)]

    results = ask_and_read(shard, endpoint_name, calls, read_all)
    if kept:
        _count_as_used(shard, endpoint_name, kept)
    return results


def _count_as_used(shard: ClaimedShard, endpoint_name: str, identities: Collection[bytes]) -> None:
    """Count the cost of cut-off answers that are of use like that of any other."""
    endpoint = shard.calls.endpoint(shard.config, endpoint_name)
    is_batched = shard.config.endpoints[endpoint_name].mode == "batch"
    factor = BATCH_PRICE_FACTOR if is_batched else 1.0

    def usd(answer: Answer) -> float:
        usage = (answer.prompt_tokens, answer.cached_tokens, answer.completion_tokens)
        return factor * endpoint.price(answer.model).cost(*usage)

    ledger = PostgresLedger(shard.engine, shard.claim.run_id)
    ledger.keep(list(ledger.find(list(identities)).values()), usd)


def _read(
    outcome: CallOutcome, read: Callable[[str], T], read_cut_off: Callable[[str], T] | None
) -> tuple[T, bytes] | RowError:
    if isinstance(outcome, Truncated) and read_cut_off is not None:
        with suppress(Malformed):
            return read_cut_off(outcome.text), outcome.identity
    if isinstance(outcome, RowError):
        return outcome
    try:
        return read(outcome.text), outcome.identity
    except Malformed as error:
        return Malformed(error.reason, outcome.attempts, outcome.request_id)


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
