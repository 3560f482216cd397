"""The errors that the library and the programs raise on purpose, by what follows from them.

NeuroglossError
├── InputError               something that the user gave is wrong; a command exits with code 2
├── TransientError           the same call may succeed later
│   ├── RateLimited          ... no sooner than `retry_after` seconds from now
│   └── ServiceUnavailable   ... the service did not answer, or answered with a server error
│       ├── AnswerTimeout    ... no whole answer came within `timeout_s`
│       └── EndpointAway     ... the server is not there, as while it restarts or loads a model
├── RowError                 this neuron fails, the others go on
│   ├── RequestRejected      the server refused the request itself
│   │   └── ContextExceeded  ... because it is longer than the model or a limit allows
│   ├── Refused              the model declined to answer
│   ├── Truncated            the answer was cut off, at the larger token limit too
│   │   └── OnlyReasoned     ... before it began: all tokens went into reasoning
│   ├── Malformed            the answer is not what was asked for
│   │   └── Incomplete       ... because the server broke it off, or ended it for an unknown reason
│   └── Unavailable          the service was unavailable up to the last attempt
├── RunError                 the whole run pauses, because every other call would fail alike
│   ├── BadCredentials       the endpoint does not accept the key
│   ├── NoCredit             the account behind the key has nothing left to spend
│   ├── UnknownModel         the endpoint does not know the model or the path
│   ├── EndpointUnreachable  nobody answers, for longer than is waited for
│   ├── ContextTooSmall      the prompts of the run are longer than the model or a limit allows
│   ├── UnsuitableModel      the model, or its endpoint, lacks a feature that the run needs
│   ├── BudgetReached        the budget of the run is spent
│   ├── CannotCollect        the subject model or its corpus cannot be read on a worker
│   └── OtherVersion         the run or the database is of another version of neurogloss
├── LeaseLost                another worker has claimed the shard; its results are discarded
├── Waiting                  the shard's calls are in batches; it is released until they end
└── Interrupted              the worker was told to stop; the shard is released

`neurogloss.llm.error_classes` adds UnsupportedParameter: the call may succeed without a parameter.
Any other error in a worker, outages of Postgres and Redis aside, is a defect: it is logged with its
traceback, and counts as an attempt at the shard.
"""

from typing import ClassVar


class NeuroglossError(Exception):
    """Base class of all errors that are raised on purpose."""


class InputError(NeuroglossError):
    """Something that the user gave is wrong; the message names it, and what would be right."""


class TransientError(NeuroglossError):
    """The same call may succeed later."""


class RateLimited(TransientError):
    """The endpoint has no capacity left for `retry_after` seconds."""

    def __init__(self, retry_after: float, reason: str = "rate limited") -> None:
        super().__init__(retry_after, reason)  # all arguments, so that the error can be unpickled
        self.retry_after = retry_after
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason}, retry after {self.retry_after:.1f} s"


class ServiceUnavailable(TransientError):
    """The service could not be reached, or answered with a server error."""


class AnswerTimeout(ServiceUnavailable):
    """No whole answer came within `timeout_s`."""


class EndpointAway(ServiceUnavailable):
    """The server is not there, as while it restarts or loads a model.

    `retry_after` is the number of seconds that it asks to wait, if it names one.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason, retry_after)
        self.reason = reason
        self.retry_after = retry_after

    def __str__(self) -> str:
        return self.reason


class RowError(NeuroglossError):
    """One neuron fails for a reason of its own. `retry --class` takes the `failure_class`."""

    failure_class: ClassVar[str] = "failed"

    def __init__(self, reason: str, attempts: int = 1, request_id: str | None = None) -> None:
        super().__init__(reason, attempts, request_id)
        self.reason = reason
        self.attempts = attempts
        self.request_id = request_id

    def __str__(self) -> str:
        return self.reason


class RequestRejected(RowError):
    """The server refused the request itself; the same request would be refused again."""

    failure_class = "rejected"


class ContextExceeded(RequestRejected):
    """The question is longer than the context of the model, or than a limit allows at once."""


class Refused(RowError):
    """The model, or a filter before it, declined to answer."""

    failure_class = "refused"


class Truncated(RowError):
    """The answer was cut off at its token limit, and again at a larger one.

    `text` is what there is of it, and `identity` is that of its call.
    """

    failure_class = "truncated"

    def __init__(
        self,
        reason: str,
        attempts: int = 1,
        request_id: str | None = None,
        text: str = "",
        identity: bytes = b"",
    ) -> None:
        super().__init__(reason, attempts, request_id)
        self.args = (reason, attempts, request_id, text, identity)
        self.text = text
        self.identity = identity


class OnlyReasoned(Truncated):
    """The model used up the limit of tokens before its answer began, as models that reason do."""

    failure_class = "reasoning"


class Malformed(RowError):
    """The answer is not what was asked for."""

    failure_class = "malformed"


class Incomplete(Malformed):
    """The server says that the answer is not whole, or ended it in a way that nobody knows."""

    failure_class = "incomplete"


class Unavailable(RowError):
    """The service was unavailable up to the last attempt."""

    failure_class = "unavailable"


FAILURE_CLASSES = (
    "error",  # of a shard that was given up
    "not_explained",  # of a neuron that the run in `records.run` has no explanation of
    *sorted(
        kind.failure_class
        for kind in (
            RequestRejected, Refused, Truncated, OnlyReasoned, Malformed, Incomplete, Unavailable
        )
    ),
)  # fmt: skip
"""The words that are stored as reasons for the failure of a neuron."""


class RunError(NeuroglossError):
    """Every other call of the run would fail alike, so the run pauses.

    `cause` is the word that is stored with the paused run, `reason` says what to do about it.
    """

    cause: ClassVar[str] = "error"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BadCredentials(RunError):
    """The endpoint does not accept the key."""

    cause = "credentials"


class NoCredit(RunError):
    """The account behind the key has nothing left to spend."""

    cause = "credit"


class UnknownModel(RunError):
    """The endpoint does not know the model or the path."""

    cause = "model"


class EndpointUnreachable(RunError):
    """Nobody answers, for longer than is waited for."""

    cause = "endpoint"


class ContextTooSmall(RunError):
    """The prompts of the run are longer than the context of the model, or than a limit allows."""

    cause = "model"


class UnsuitableModel(RunError):
    """The model, or its endpoint, lacks a feature that the run needs."""

    cause = "model"


class BudgetReached(RunError):
    """The budget of the run is spent."""

    cause = "budget"


class CannotCollect(RunError):
    """The subject model or its corpus cannot be read on a worker, or gives unusable values."""

    cause = "collect"


class OtherVersion(RunError):
    """The run, or the database, is of another version of neurogloss than this process."""

    cause = "version"


class LeaseLost(NeuroglossError):
    """Another worker has claimed the shard."""


class Waiting(NeuroglossError):
    """The shard's calls are in batches."""


class Interrupted(NeuroglossError):
    """The worker was told to stop."""
