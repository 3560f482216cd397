"""Reading the lines of a batch's output and error files."""

from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from worker.api.responses import Reading, WrongTokenLimit, check, read_completion
from worker.errors import RequestRejected, RunError, TransientError

PRICE_FACTOR = 0.5
"""What a batch costs of the price of its questions."""
_NOT_TRIED = ("batch_expired", "batch_cancelled")

Outcome = Reading | RequestRejected | RunError | TransientError | WrongTokenLimit | None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a question: an answer, an error, or None if it was not tried."""

    identity: bytes
    outcome: Outcome
    request_id: str | None


def read_result(line: bytes, secret: str | None) -> Result | None:
    """Return what a line says; None if it is no result of ours."""
    try:
        row = orjson.loads(line)
        identity = bytes.fromhex(row["custom_id"])
        response, error = row.get("response") or {}, row.get("error") or {}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    outcome: Outcome = None
    if response:
        outcome = _outcome(response, secret)
    elif error.get("code") not in _NOT_TRIED:
        outcome = TransientError(str(error.get("message"))[:300])
    return Result(identity, outcome, response.get("request_id") or row.get("id"))


def _outcome(response: dict[str, Any], secret: str | None) -> Outcome:
    content = orjson.dumps(response.get("body"))
    status = response.get("status_code")
    # Some lines of a batch that ended well have the status 0: nobody knows what happened.
    status = status if isinstance(status, int) and 100 <= status <= 599 else 500
    try:
        check(httpx.Response(status, content=content), secret)
        return read_completion(content)
    except (RequestRejected, RunError, TransientError, WrongTokenLimit) as error:
        return error
