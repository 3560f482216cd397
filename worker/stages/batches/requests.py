"""A shard whose questions are asked in batches: it reads what is answered, or waits."""

from collections.abc import Mapping, Sequence

from db import batch_requests
from db.batch_requests import NewRequest, RequestFailure
from db.session import transaction
from neurogloss.errors import RequestRejected, RowError, Truncated, Unavailable, Waiting
from neurogloss.llm.call_session import usable, with_double_limit
from neurogloss.llm.calls import Answer, Call
from neurogloss.llm.endpoint import Endpoint
from worker.shard import ClaimedShard
from worker.stages.ledger import PostgresLedger

_FAILURES = {kind.failure_class: kind for kind in (RequestRejected, Unavailable)}


def answers_from_batches(
    shard: ClaimedShard, endpoint: Endpoint, calls: Sequence[Call]
) -> list[Answer | RowError]:
    """Return the answer to each call, or why there is none.

    Raises:
        Waiting: Some have no answer yet; they are put into batches, and the shard comes again when
            all are answered.
    """
    questions = _Questions(shard, endpoint, calls)
    outcomes = [questions.outcome(call) for call in calls]
    if questions.missing:
        questions.request()
        raise Waiting(f"{len(questions.missing)} questions are put into batches")
    return [outcome for outcome in outcomes if outcome is not None]


class _Questions:
    """The questions of a shard with what is stored of them."""

    def __init__(self, shard: ClaimedShard, endpoint: Endpoint, calls: Sequence[Call]) -> None:
        self._work, self._endpoint = shard, endpoint
        identities = [self._identity(c) for call in calls for c in (call, with_double_limit(call))]
        run_id = shard.claim.run_id
        self._known: Mapping[bytes, Answer] = PostgresLedger(shard.engine, run_id).find(identities)
        with transaction(shard.engine) as connection:
            self._failed = batch_requests.failures(connection, run_id, identities)
        self.missing: dict[bytes, Call] = {}

    def outcome(self, call: Call, *, is_larger: bool = False) -> Answer | RowError | None:
        """Return what came of a call; None if it is to be asked."""
        identity = self._identity(call)
        if identity in self._known:
            found = usable(self._known[identity])
            if isinstance(found, Truncated) and not is_larger:
                return self.outcome(with_double_limit(call), is_larger=True)
            return found
        if identity in self._failed:
            return _failure(self._failed[identity])
        self.missing[identity] = call
        return None

    def request(self) -> None:
        """Put what is missing where the next batch takes it from."""
        claim = self._work.claim
        rows = [self._row(identity, call) for identity, call in self.missing.items()]
        with transaction(self._work.engine) as connection:
            batch_requests.request(
                connection, claim.run_id, claim.shard_id, list(self.missing), rows
            )

    def _identity(self, call: Call) -> bytes:
        return call.identity(self._endpoint.base_url)

    def _row(self, identity: bytes, call: Call) -> NewRequest:
        place = (self._work.claim.run_id, identity, call.purpose, self._endpoint.name)
        tokens = (call.prompt_tokens, call.max_completion_tokens)
        return NewRequest(*place, call.model, call.path, call.content, *tokens)


def _failure(failure: RequestFailure) -> RowError:
    kind = _FAILURES.get(failure.failure_class, Unavailable)
    return kind(failure.message, failure.attempts, failure.request_id)
