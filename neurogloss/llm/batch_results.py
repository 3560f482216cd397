"""Reading the lines of a batch's output and error files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from neurogloss.errors import RowError, RunError, ServiceUnavailable, TransientError
from neurogloss.llm.responses import (
    Completion,
    UnsupportedParameter,
    raise_for_error,
    read_completion,
)
from neurogloss.llm.server_text import server_text

_NOT_TRIED = ("batch_expired", "batch_cancelled")

BatchOutcome = Completion | RowError | RunError | TransientError | UnsupportedParameter


@dataclass(frozen=True, slots=True)
class Result:
    """A line about one call: `response` is empty where the call was not answered."""

    identity: bytes
    response: dict[str, Any]
    error: dict[str, Any]
    request_id: str | None

    def outcome(self, request: Mapping[str, Any], secret: str | None) -> BatchOutcome | None:
        """Return the completion, or the error that the line stands for; None if it was not tried.

        Args:
            request: The body of the call.
            secret: The key, which is removed from messages.
        """
        if self.response:
            return _read_response(self.response, request, secret)
        if self.error.get("code") in _NOT_TRIED:
            return None
        return TransientError(server_text(self.error.get("message"), secret))


def read_result(line: bytes, secret: str | None = None) -> Result | None:
    """Read one line; return None if it is no result of one of our calls.

    `secret` is the key, which is removed from the id of the request.
    """
    try:
        row = _object(orjson.loads(line))
        identity = bytes.fromhex(row["custom_id"])
    except (ValueError, KeyError, TypeError):
        return None
    response, error = _object(row.get("response")), _object(row.get("error"))
    request_id = response.get("request_id") or row.get("id")
    return Result(
        identity, response, error, server_text(request_id, secret) if request_id else None
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _read_response(
    response: dict[str, Any], request: Mapping[str, Any], secret: str | None
) -> BatchOutcome:
    try:
        content = orjson.dumps(response.get("body"))
    except TypeError:  # more than 254 levels
        return ServiceUnavailable("the body of the answer is nested too deep")
    status = response.get("status_code")
    # Some lines of a batch that ended well have the status 0, of which the API gives no reason:
    # they count as server errors.
    status = status if isinstance(status, int) and 100 <= status <= 599 else 500
    try:
        raise_for_error(httpx.Response(status, content=content), secret)
        return read_completion(content, request, secret)
    except (RowError, RunError, TransientError, UnsupportedParameter) as error:
        return error
