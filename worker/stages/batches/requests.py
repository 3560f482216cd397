"""A shard whose calls are made in batches: it reads the answers, or waits for them."""

from collections.abc import Mapping, Sequence

from db import batch_requests, shards
from db.batch_requests import NewRequest, RequestFailure
from db.session import transaction
from neurogloss.errors import (
    LeaseLost,
    Malformed,
    Refused,
    RequestRejected,
    RowError,
    Truncated,
    Unavailable,
    Waiting,
)
from neurogloss.llm.calls import Answer, Call, CallOutcome
from neurogloss.llm.endpoint import Endpoint
from worker.ledger import PostgresLedger
from worker.shard import ClaimedShard

_FAILURES = {
    kind.failure_class: kind for kind in (RequestRejected, Refused, Malformed, Unavailable)
}


def answers_from_batches(
    shard: ClaimedShard, endpoint: Endpoint, calls: Sequence[Call]
) -> list[CallOutcome]:
    """Return the outcome of each call.

    Raises:
        Waiting: Some have none yet. They are put into batches, and the shard becomes ready when all
            have one.
    """
    stored = _StoredOutcomes(shard, endpoint, calls)
    outcomes = [stored.outcome(call) for call in calls]
    if stored.missing:
        stored.request_missing()
        raise Waiting(f"{len(stored.missing)} calls are put into batches")
    return [outcome for outcome in outcomes if outcome is not None]


class _StoredOutcomes:
    """The calls of a shard with what is stored of them. `missing` have neither answer nor error."""

    def __init__(self, shard: ClaimedShard, endpoint: Endpoint, calls: Sequence[Call]) -> None:
        self._shard, self._endpoint = shard, endpoint
        # An answer that was cut off leads to the call with twice the limit: both are looked up at
        # once.
        identities = [self._identity(c) for call in calls for c in (call, call.with_double_limit())]
        run_id = shard.claim.run_id
        ledger = PostgresLedger(shard.engine, run_id)
        self._answers: Mapping[bytes, Answer] = ledger.find(identities)
        with transaction(shard.engine) as connection:
            self._failures = batch_requests.failures(connection, run_id, identities)
        self.missing: dict[bytes, Call] = {}

    def outcome(self, call: Call, *, is_larger: bool = False) -> CallOutcome | None:
        """Return the outcome of a call; None if it is missing.

        Where the answer was cut off, it is the outcome of the call with twice the token limit.
        """
        identity = self._identity(call)
        if identity in self._answers:
            outcome = self._answers[identity].outcome()
            if isinstance(outcome, Truncated) and not is_larger:
                return self.outcome(call.with_double_limit(), is_larger=True)
            return outcome
        if identity in self._failures:
            return _failure(self._failures[identity])
        self.missing[identity] = call
        return None

    def request_missing(self) -> None:
        """Store the missing calls for the next batch, and let the shard wait for them.

        Raises:
            LeaseLost: Another worker has the shard, and its calls may have been answered since.
        """
        claim = self._shard.claim
        rows = [self._row(identity, call) for identity, call in self.missing.items()]
        with transaction(self._shard.engine) as connection:
            if not shards.hold(connection, claim):
                raise LeaseLost(f"shard {claim.shard_id} is not ours any more")
            batch_requests.request(
                connection, claim.run_id, claim.shard_id, list(self.missing), rows
            )

    def _identity(self, call: Call) -> bytes:
        return call.identity(self._endpoint.base_url)

    def _row(self, identity: bytes, call: Call) -> NewRequest:
        place = (self._shard.claim.run_id, identity, call.purpose, self._endpoint.name)
        tokens = (call.prompt_tokens, call.max_completion_tokens)
        return NewRequest(*place, call.model, call.path, call.content, *tokens)


def _failure(failure: RequestFailure) -> RowError:
    kind = _FAILURES.get(failure.failure_class, Unavailable)
    return kind(failure.message, failure.attempts, failure.request_id)
