"""Files and batches of an OpenAI-compatible API."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from neurogloss.errors import ServiceUnavailable
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.responses import raise_for_error
from neurogloss.llm.server_text import server_text

MARK = "neurogloss_batch"
"""Key in a batch's metadata that holds our mark, by which it is found again after a crash."""
WINDOW = "24h"  # in which a batch is to be done; OpenAI offers no other
_TIMEOUT = httpx.Timeout(120.0, connect=10.0)
_PAGE = 100  # the most that OpenAI lists at once
T = TypeVar("T", bound=BaseModel)


class BatchClient:
    """Uploads, creates, looks up and downloads. Nothing is retried: the caller comes back anyway.

    All methods raise what `neurogloss.llm.responses.raise_for_error` does, and ServiceUnavailable
    where there was no response.
    """

    def __init__(self, endpoint: Endpoint, transport: httpx.BaseTransport | None = None) -> None:
        key = endpoint.api_key
        self._key = key
        self._http = httpx.Client(
            base_url=endpoint.base_url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=_TIMEOUT,
            follow_redirects=False,
            transport=transport,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def upload(self, name: str, path: str, bodies: Iterable[tuple[bytes, bytes]]) -> str:
        """Upload a file of calls, given as (identity, body), and return its id."""
        with tempfile.TemporaryFile() as file:
            for identity, body in bodies:
                file.write(request_line(identity, path, body))
            file.seek(0)
            return self._id_of("files", data={"purpose": "batch"}, files={"file": (name, file)})

    def create(self, path: str, file_id: str, mark: str) -> str:
        """Create a batch under our mark and return its id."""
        batch = {
            "input_file_id": file_id,
            "endpoint": f"/v1{path}",
            "completion_window": WINDOW,
            "metadata": {MARK: mark},
        }
        return self._id_of("batches", json=batch)

    def find(self, mark: str) -> str | None:
        """Return the id of the batch that has our mark, if it was created."""
        after: dict[str, str] = {}
        while True:
            page = self._read(_Page, self._send("GET", "batches", params={"limit": _PAGE, **after}))
            for batch in page.data:
                if (batch.metadata or {}).get(MARK) == mark:
                    return batch.id
            if not page.has_more or not page.data:
                return None
            after = {"after": page.data[-1].id}

    def get(self, batch_id: str) -> dict[str, Any]:
        """Return the state of a batch: the fields of `_State`."""
        return self._read(_State, self._send("GET", f"batches/{batch_id}")).model_dump()

    def cancel(self, batch_id: str) -> None:
        """Cancel a batch. It takes the API minutes until its state is `cancelled`."""
        self._send("POST", f"batches/{batch_id}/cancel")

    @contextmanager
    def download(self, file_id: str) -> Iterator[IO[bytes]]:
        """Yield a temporary copy of a file, which may be larger than memory."""
        with tempfile.TemporaryFile() as file:
            try:
                with self._http.stream("GET", f"files/{file_id}/content") as response:
                    if not response.is_success:
                        # A streamed response has no content until it is read.
                        response.read()
                        raise_for_error(response, self._key)
                    for chunk in response.iter_bytes():
                        file.write(chunk)
            except httpx.RequestError as error:
                raise _unanswered(error, self._key) from error
            file.seek(0)
            yield file

    def delete(self, file_id: str) -> None:
        """Delete a file."""
        self._send("DELETE", f"files/{file_id}")

    def _id_of(self, path: str, **content: Any) -> str:
        return self._read(_Object, self._send("POST", path, **content)).id

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **content)
        except httpx.RequestError as error:
            raise _unanswered(error, self._key) from error
        raise_for_error(response, self._key)
        return response

    def _read(self, model: type[T], response: httpx.Response) -> T:
        try:
            return model.model_validate_json(response.content)
        except ValidationError as error:
            raise ServiceUnavailable("the response is cut off, or of another form") from error


class _Object(BaseModel):
    id: str
    metadata: dict[str, Any] | None = None


class _Page(BaseModel):
    data: list[_Object]
    has_more: bool = False


class _Error(BaseModel):
    code: Any = None
    message: Any = None


class _Errors(BaseModel):
    data: list[_Error] | None = None


class _State(BaseModel):
    status: str
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: _Errors | None = None
    created_at: float | None = None
    completed_at: float | None = None
    expired_at: float | None = None
    cancelled_at: float | None = None


def _unanswered(error: httpx.RequestError, secret: str | None) -> ServiceUnavailable:
    reason = server_text(str(error) or type(error).__name__, secret)
    return ServiceUnavailable(f"no answer from the endpoint: {reason}")


def request_line(identity: bytes, path: str, body: bytes) -> bytes:
    """Return a line of an input file. The body is not parsed, so its keys stay in their order."""
    custom_id = identity.hex().encode()
    head = b'{"custom_id":"%b","method":"POST","url":"/v1%b","body":' % (custom_id, path.encode())
    return head + body + b"}\n"
