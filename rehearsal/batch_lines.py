"""The lines of batch files: reading requests, writing what became of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from rehearsal.questions import count_tokens
from rehearsal.replies import Reply


class LineError(Exception):
    """Why a batch cannot be taken, and in which line; 0 if it is in none."""

    def __init__(self, code: str, message: str, line: int = 0) -> None:
        super().__init__(code, message, line)
        self.code, self.message, self.line = code, message, line

    def to_dict(self) -> dict[str, Any]:
        """Return an entry of `errors.data` of the batch."""
        return {
            "code": self.code,
            "message": self.message,
            "param": None,
            "line": self.line or None,
        }


@dataclass(frozen=True, slots=True)
class Line:
    """One request."""

    custom_id: str
    body: bytes
    """JSON, written anew: what a client that uses orjson would have posted."""
    prompt_tokens: int
    """An estimate, which enqueued tokens are counted by."""


def read_lines(content: bytes, path: str, max_lines: int) -> list[Line]:
    """Read an input file.

    Raises:
        LineError: The first reason for which the API would take none of it.
    """
    rows = content.splitlines()
    if not rows:
        raise LineError("empty_file", "the input file is empty")
    if len(rows) > max_lines:
        raise LineError("too_many_requests", f"{len(rows)} lines are more than {max_lines}")
    lines: list[Line] = []
    seen: set[str] = set()
    models: set[str] = set()
    for number, row in enumerate(rows, 1):
        request = _request(row, path, number)
        if request["custom_id"] in seen:
            raise LineError("duplicate_custom_id", "this custom_id was used before", number)
        seen.add(request["custom_id"])
        models.add(str(request["body"].get("model")))
        if len(models) > 1:
            raise LineError("mismatched_model", "all lines must name the same model", number)
        lines.append(_line(request))
    return lines


def _request(row: bytes, path: str, number: int) -> dict[str, Any]:
    try:
        request = orjson.loads(row)
        body, custom_id = request["body"], request["custom_id"]
        wanted = isinstance(body, dict) and isinstance(custom_id, str)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        wanted = False
    if not wanted:
        raise LineError("invalid_json_line", "this line is no request", number)
    if request.get("method") != "POST" or request.get("url") != path:
        raise LineError("invalid_url", f"this line must be a POST to {path}", number)
    return dict(request)


def _line(request: dict[str, Any]) -> Line:
    body = request["body"]
    asked = orjson.dumps(body.get("messages") or body.get("prompt")).decode()
    return Line(request["custom_id"], orjson.dumps(body), count_tokens(asked))


def result_line(number: int, line: Line, reply: Reply) -> bytes:
    """Return a line of an output file, or of an error file if the reply is one."""
    body = orjson.loads(reply.body) if reply.content_type == "application/json" else {}
    request_id = f"batch_req_rehearsal_{number:08d}"
    return orjson.dumps(
        {
            "id": request_id,
            "custom_id": line.custom_id,
            "response": {"status_code": reply.status, "request_id": request_id, "body": body},
            "error": None,
        }
    )


def unanswered_line(number: int, line: Line, code: str, message: str) -> bytes:
    """Return a line of an error file for a request that was never tried."""
    return orjson.dumps(
        {
            "id": f"batch_req_rehearsal_{number:08d}",
            "custom_id": line.custom_id,
            "response": None,
            "error": {"code": code, "message": message},
        }
    )


def join(rows: Sequence[bytes]) -> bytes:
    """Return the content of a file."""
    return b"".join(row + b"\n" for row in rows)
