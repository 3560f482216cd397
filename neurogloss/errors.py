"""What can go wrong in a task, and what follows from it.

WorkerError
├── TransientError          the same call may succeed later
│   ├── RateLimited         ... no sooner than `retry_after` seconds from now
│   └── ServiceUnavailable  ... the service did not answer, or answered with a server error
├── RowError                this neuron fails, the others go on
│   ├── RequestRejected     the server refused the request itself
│   ├── Refused             the model declined to answer
│   ├── Truncated           the answer was cut off, at the larger limit too
│   ├── Malformed           the answer does not say what was asked
│   └── Unavailable         the service stayed unavailable to the last attempt
├── RunError                the whole run pauses at once: every other call would fail alike
│   ├── BadCredentials
│   ├── NoCredit
│   ├── UnknownModel
│   ├── EndpointUnreachable  call after call has got no answer to its last attempt
│   ├── UnsuitableModel     the model lacks what its part in the run needs
│   ├── BudgetReached
│   └── CannotCollect       the subject model or its corpus cannot be read on a worker
├── LeaseLost               another worker has the shard now; what was computed is dropped
├── Waiting                 the shard's questions are put into batches, which take their time
└── Interrupted             the worker was told to stop; the shard goes back
"""

from typing import ClassVar


class NeuroglossError(Exception):
    """Base class of all errors that a task raises on purpose."""


class TransientError(NeuroglossError):
    """The same call may succeed later."""


class RateLimited(TransientError):
    """The endpoint has no capacity left for now."""

    def __init__(self, retry_after: float, reason: str = "rate limited") -> None:
        super().__init__(retry_after, reason)  # all arguments, so that the error survives pickling
        self.retry_after = retry_after
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason}, retry after {self.retry_after:.1f} s"


class ServiceUnavailable(TransientError):
    """The service could not be reached, or answered with a server error."""


class RowError(NeuroglossError):
    """One neuron fails for a reason of its own. `failure_class` is what `retry --class` takes."""

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


class Refused(RowError):
    """The model, or a filter before it, declined to answer."""

    failure_class = "refused"


class Truncated(RowError):
    """The answer was cut off at its token limit, and again at a larger one."""

    failure_class = "truncated"


class Malformed(RowError):
    """The answer does not hold what was asked for."""

    failure_class = "malformed"


class Unavailable(RowError):
    """The service stayed unavailable to the last attempt."""

    failure_class = "unavailable"


class RunError(NeuroglossError):
    """Every other call of the run would fail alike, so the run pauses. `reason` says what to do."""

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
    """Call after call has got no answer to its last attempt."""

    cause = "endpoint"


class UnsuitableModel(RunError):
    """The model, or its endpoint, cannot do what the run needs of it."""

    cause = "model"


class BudgetReached(RunError):
    """The budget of the run is spent."""

    cause = "budget"


class CannotCollect(RunError):
    """The subject model or its corpus cannot be read, or gives values no one can use."""

    cause = "collect"


class LeaseLost(NeuroglossError):
    """Another worker has the shard now."""


class Waiting(NeuroglossError):
    """The shard's questions are put into batches."""


class Interrupted(NeuroglossError):
    """The worker was told to stop."""


class InputError(Exception):
    """Something the user gave is wrong; the message names it and what would be right. Exit 2."""
