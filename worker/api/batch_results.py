"""Reading the lines of a batch's output and error files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from worker.api.responses import Reading, UnsupportedParameter, check, read_completion
from worker.errors import RequestRejected, RunError, TransientError

PRICE_FACTOR = 0.5
"""What a batch costs of the price of its questions."""
_NOT_TRIED = ("batch_expired", "batch_cancelled")

Outcome = Reading | RequestRejected | RunError | TransientError | UnsupportedParameter | None


@dataclass(frozen=True, slots=True)
class Line:
    """What a file says of a question: `response` is empty where it got none."""

    identity: bytes
    response: Mapping[str, Any]
    error: Mapping[str, Any]
    request_id: str | None

    def outcome(self, asked: Mapping[str, Any], secret: str | None) -> Outcome:
        """Return an answer, an error, or None if the question was not tried.

        Args:
            asked: The body of the question.
            secret: The key, which is taken out of what errors say.
        """
        if not self.response:
            if self.error.get("code") in _NOT_TRIED:
                return None
            return TransientError(str(self.error.get("message"))[:300])
        content = orjson.dumps(self.response.get("body"))
        status = self.response.get("status_code")
        # Some lines of a batch that ended well have the status 0: nobody knows what happened.
        status = status if isinstance(status, int) and 100 <= status <= 599 else 500
        try:
            check(httpx.Response(status, content=content), secret)
            return read_completion(content, asked)
        except (RequestRejected, RunError, TransientError, UnsupportedParameter) as error:
            return error


def read_line(line: bytes) -> Line | None:
    """Return what a line says; None if it is no result of ours."""
    try:
        row = orjson.loads(line)
        identity = bytes.fromhex(row["custom_id"])
        response, error = row.get("response") or {}, row.get("error") or {}
        return Line(identity, response, error, response.get("request_id") or row.get("id"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
