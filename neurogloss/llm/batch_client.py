"""Files and batches of an OpenAI-compatible API."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from neurogloss.errors import RequestRejected, ServiceUnavailable
from neurogloss.llm.bounded_http import BlockingHttp, UnreadableBody
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.responses import raise_for_error

MARK = "neurogloss_batch"
"""Key in a batch's metadata that holds our mark, by which it is found again after a crash."""
WINDOW = "24h"  # in which a batch is to be done; OpenAI offers no other
_EXCHANGE_S = 120.0  # for one request; uploads and downloads have their own limits
_TRANSFER_S = 3600.0  # for a file, which may have gigabytes
_PAGE = 100  # the most that OpenAI lists at once
_MOST_PAGES = 1000  # of a list: a server that repeats its cursor would be read for ever
RESULTS_BYTES = 4 << 30  # of a file of results; 50,000 answers with log probabilities fit
T = TypeVar("T", bound=BaseModel)


class BatchClient:
    """Uploads, creates, looks up and downloads. Nothing is retried: the caller comes back anyway.

    All methods raise what `neurogloss.llm.responses.raise_for_error` does, and ServiceUnavailable
    where there was no response.
    """

    def __init__(
        self, endpoint: Endpoint, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        key = endpoint.api_key
        self._key = key
        self._http = BlockingHttp(endpoint.base_url, key, transport=transport)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def upload(self, name: str, path: str, bodies: Iterable[tuple[bytes, bytes]]) -> str:
        """Upload a file of calls, given as (identity, body), and return its id."""
        # On disk: the 50,000 calls of a batch need not fit into memory.
        with tempfile.TemporaryFile() as file:
            for identity, body in bodies:
                file.write(request_line(identity, path, body))
            file.seek(0)
            form = {"data": {"purpose": "batch"}, "files": {"file": (name, file)}}
            return self._id_of("files", seconds=_TRANSFER_S, **form)

    def create(self, path: str, file_id: str, mark: str) -> str:
        """Create a batch under our mark and return its id."""
        batch = {
            "input_file_id": file_id,
            "endpoint": f"/v1{path}",
            "completion_window": WINDOW,
            # Lists of batches have the metadata, so that a batch whose creation was not confirmed
            # is found.
            "metadata": {MARK: mark},
        }
        return self._id_of("batches", json=batch)

    def find(self, mark: str) -> str | None:
        """Return the id of the batch that has our mark, if it was created."""
        after: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            page = self._read(_Page, self._send("GET", "batches", params={"limit": _PAGE, **after}))
            for batch in page.data:
                if (batch.metadata or {}).get(MARK) == mark:
                    return batch.id
            if not page.has_more or not page.data:
                return None
            after = {"after": page.data[-1].id}
        raise ServiceUnavailable(f"the list of batches has more than {_MOST_PAGES} pages")

    def get(self, batch_id: str) -> dict[str, Any]:
        """Return the state of a batch: the fields of `_State`."""
        return self._read(_State, self._send("GET", f"batches/{batch_id}")).model_dump()

    def cancel(self, batch_id: str) -> None:
        """Cancel a batch. It takes the API minutes until its state is `cancelled`."""
        self._send("POST", f"batches/{batch_id}/cancel")

    @contextmanager
    def download(self, file_id: str) -> Iterator[IO[bytes]]:
        """Yield a temporary copy of a file, which may be larger than memory.

        Raises:
            RequestRejected: It has more than `RESULTS_BYTES`, or a compression that is not read.
        """
        with tempfile.TemporaryFile() as file:
            path = f"files/{file_id}/content"
            try:
                response = self._http.download(
                    path, file, seconds=_TRANSFER_S, most_bytes=RESULTS_BYTES
                )
            except UnreadableBody as error:  # it would be the same at the next attempt
                raise RequestRejected(str(error)) from error
            raise_for_error(response, self._key)
            file.seek(0)
            yield file

    def delete(self, file_id: str) -> None:
        """Delete a file."""
        self._send("DELETE", f"files/{file_id}")

    def _id_of(self, path: str, **content: Any) -> str:
        return self._read(_Object, self._send("POST", path, **content)).id

    def _send(
        self, method: str, path: str, seconds: float | None = None, **content: Any
    ) -> httpx.Response:
        response = self._http.send(method, path, seconds=seconds or _EXCHANGE_S, **content)
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


def request_line(identity: bytes, path: str, body: bytes) -> bytes:
    """Return a line of an input file. The body is not parsed, so its keys stay in their order."""
    custom_id = identity.hex().encode()
    head = b'{"custom_id":"%b","method":"POST","url":"/v1%b","body":' % (custom_id, path.encode())
    return head + body + b"}\n"
