"""Reading the lines of a batch's output and error files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from neurogloss.errors import RequestRejected, RunError, TransientError
from neurogloss.llm.responses import Completion, UnsupportedParameter, check, read_completion

PRICE_FACTOR = 0.5
"""What a batch costs of the price of its questions."""
_NOT_TRIED = ("batch_expired", "batch_cancelled")

Outcome = Completion | RequestRejected | RunError | TransientError | UnsupportedParameter | None


@dataclass(frozen=True, slots=True)
class Result:
    """What a line says of a question: `response` is empty where it was not answered."""

    identity: bytes
    response: dict[str, Any]
    error: dict[str, Any]
    request_id: str | None

    def outcome(self, asked: Mapping[str, Any], secret: str | None) -> Outcome:
        """Return the answer, or the error that it stands for; None if it was not tried.

        Args:
            asked: The body of the question.
            secret: The key, which is taken out of what errors say.
        """
        if self.response:
            return _outcome(self.response, asked, secret)
        if self.error.get("code") in _NOT_TRIED:
            return None
        return TransientError(str(self.error.get("message"))[:300])


def read_result(line: bytes) -> Result | None:
    """Return what a line says; None if it is no result of ours."""
    try:
        row = _object(orjson.loads(line))
        identity = bytes.fromhex(row["custom_id"])
    except (ValueError, KeyError, TypeError):
        return None
    response, error = _object(row.get("response")), _object(row.get("error"))
    request_id = response.get("request_id") or row.get("id")
    return Result(identity, response, error, str(request_id) if request_id else None)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _outcome(response: dict[str, Any], asked: Mapping[str, Any], secret: str | None) -> Outcome:
    content = orjson.dumps(response.get("body"))
    status = response.get("status_code")
    # Some lines of a batch that ended well have the status 0: nobody knows what happened.
    status = status if isinstance(status, int) and 100 <= status <= 599 else 500
    try:
        check(httpx.Response(status, content=content), secret)
        return read_completion(content, asked)
    except (RequestRejected, RunError, TransientError, UnsupportedParameter) as error:
        return error
