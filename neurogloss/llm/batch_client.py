"""Files and batches of an OpenAI-compatible API."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from neurogloss.errors import ServiceUnavailable
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.responses import check

MARK = "neurogloss_batch"
"""Where a batch's metadata holds our name for it."""
WINDOW = "24h"
_TIMEOUT = httpx.Timeout(120.0, connect=10.0)
_PAGE = 100
T = TypeVar("T", bound=BaseModel)


class BatchClient:
    """Uploads, creates, looks up and downloads. Nothing is tried twice: the caller comes again.

    All methods raise what `neurogloss.llm.responses.check` does, and ServiceUnavailable where there
    was no reply.
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
        """Upload a file of questions, given as (identity, body), and return its id."""
        with tempfile.TemporaryFile() as file:
            for identity, body in bodies:
                file.write(request_line(identity, path, body))
            file.seek(0)
            return self._id_of("files", data={"purpose": "batch"}, files={"file": (name, file)})

    def create(self, path: str, file_id: str, mark: str) -> str:
        """Create a batch under our mark and return its id."""
        asked = {
            "input_file_id": file_id,
            "endpoint": f"/v1{path}",
            "completion_window": WINDOW,
            "metadata": {MARK: mark},
        }
        return self._id_of("batches", json=asked)

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
        """Return what the API says of a batch, as far as it is asked here."""
        return self._read(_State, self._send("GET", f"batches/{batch_id}")).model_dump()

    def cancel(self, batch_id: str) -> None:
        """Ask for the end of a batch, which takes the API a while."""
        self._send("POST", f"batches/{batch_id}/cancel")

    @contextmanager
    def download(self, file_id: str) -> Iterator[IO[bytes]]:
        """Yield a file, whole on disk: it may be larger than memory."""
        with tempfile.TemporaryFile() as file:
            try:
                with self._http.stream("GET", f"files/{file_id}/content") as response:
                    if not response.is_success:
                        response.read()
                        check(response, self._key)
                    for chunk in response.iter_bytes():
                        file.write(chunk)
            except httpx.RequestError as error:
                raise _no_reply(error) from error
            file.seek(0)
            yield file

    def delete(self, file_id: str) -> None:
        """Delete a file."""
        self._send("DELETE", f"files/{file_id}")

    def _id_of(self, path: str, **content: Any) -> str:
        return self._read(_Named, self._send("POST", path, **content)).id

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **content)
        except httpx.RequestError as error:
            raise _no_reply(error) from error
        check(response, self._key)
        return response

    def _read(self, form: type[T], response: httpx.Response) -> T:
        try:
            return form.model_validate_json(response.content)
        except ValidationError as error:
            raise ServiceUnavailable("the reply is cut off, or not what was asked") from error


class _Named(BaseModel):
    id: str
    metadata: dict[str, Any] | None = None


class _Page(BaseModel):
    data: list[_Named]
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


def _no_reply(error: httpx.RequestError) -> ServiceUnavailable:
    return ServiceUnavailable(f"no answer from the endpoint: {str(error) or type(error).__name__}")


def request_line(identity: bytes, path: str, body: bytes) -> bytes:
    """Return a line of an input file. The body goes in as it is, which keeps its order of keys."""
    custom_id = identity.hex().encode()
    head = b'{"custom_id":"%b","method":"POST","url":"/v1%b","body":' % (custom_id, path.encode())
    return head + body + b"}\n"
