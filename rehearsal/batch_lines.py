"""The lines of batch files: reading requests, writing results."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from rehearsal.chat_requests import count_tokens
from rehearsal.replies import Reply


class BatchRejected(Exception):
    """The batch fails validation; `line` is the first wrong one, from 1, or 0 if it is none."""

    def __init__(self, code: str, message: str, line: int = 0) -> None:
        super().__init__(code, message, line)
        self.code, self.message, self.line = code, message, line

    def to_dict(self) -> dict[str, Any]:
        """Return the error as the API lists it in `errors.data` of a batch."""
        return {
            "code": self.code,
            "message": self.message,
            "param": None,
            "line": self.line or None,
        }


@dataclass(frozen=True, slots=True)
class BatchLine:
    """One request of a batch."""

    custom_id: str
    body: bytes
    """JSON in the form in which orjson writes it, as if a client had posted it by itself."""
    prompt_tokens: int
    """An estimate, which counts towards the limit on enqueued tokens."""


def read_lines(content: bytes, path: str, max_lines: int) -> list[BatchLine]:
    """Read an input file.

    Raises:
        BatchRejected: Something is wrong, for which the API rejects the whole file.
    """
    rows = content.splitlines()
    if not rows:
        raise BatchRejected("empty_file", "the input file is empty")
    if len(rows) > max_lines:
        raise BatchRejected("too_many_requests", f"{len(rows)} lines are more than {max_lines}")
    lines: list[BatchLine] = []
    seen: set[str] = set()
    models: set[str] = set()
    for number, row in enumerate(rows, 1):
        request = _request(row, path, number)
        if request["custom_id"] in seen:
            raise BatchRejected("duplicate_custom_id", "this custom_id was used before", number)
        seen.add(request["custom_id"])
        models.add(str(request["body"].get("model")))
        if len(models) > 1:
            raise BatchRejected("mismatched_model", "all lines must name the same model", number)
        lines.append(_line(request))
    return lines


def _request(row: bytes, path: str, number: int) -> dict[str, Any]:
    try:
        request = orjson.loads(row)
        body, custom_id = request["body"], request["custom_id"]
        is_request = isinstance(body, dict) and isinstance(custom_id, str)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        is_request = False
    if not is_request:
        raise BatchRejected("invalid_json_line", "this line is no request", number)
    if request.get("method") != "POST" or request.get("url") != path:
        raise BatchRejected("invalid_url", f"this line must be a POST to {path}", number)
    return dict(request)


def _line(request: dict[str, Any]) -> BatchLine:
    body = request["body"]
    prompt = orjson.dumps(body.get("messages") or body.get("prompt")).decode()
    return BatchLine(request["custom_id"], orjson.dumps(body), count_tokens(prompt))


def result_line(number: int, line: BatchLine, reply: Reply) -> bytes:
    """Return the line of an output file, or of an error file, for a reply."""
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


def unanswered_line(number: int, line: BatchLine, code: str, message: str) -> bytes:
    """Return the line of an error file for a request that was never processed."""
    return orjson.dumps(
        {
            "id": f"batch_req_rehearsal_{number:08d}",
            "custom_id": line.custom_id,
            "response": None,
            "error": {"code": code, "message": message},
        }
    )


def join(rows: Sequence[bytes]) -> bytes:
    """Return the content of a file with these lines."""
    return b"".join(row + b"\n" for row in rows)
