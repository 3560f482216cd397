"""The HTTP routes of files and batches."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import orjson
from aiohttp import BodyPartReader, web
from pydantic import BaseModel, Field, ValidationError

from rehearsal.batches import Batches
from rehearsal.files import Files
from rehearsal.handler import RequestHandler
from rehearsal.options import RehearsalOptions
from rehearsal.replies import ApiError
from rehearsal.request_checks import bad_request, load_json

# Short against the default time of a batch, 2 s, and against the polling of clients.
_ADVANCE_EVERY_S = 0.02


class _BatchRequest(BaseModel):
    input_file_id: str
    endpoint: str
    completion_window: Literal["24h"]
    metadata: Annotated[dict[str, str], Field(max_length=16)] | None = None


class BatchRoutes:
    """Routes of /v1/files and /v1/batches, and the background task that advances the batches."""

    def __init__(self, handler: RequestHandler, options: RehearsalOptions) -> None:
        self._handler = handler
        self._options = options.batches
        self._available = "batches" not in options.capabilities.without
        self._files = Files()
        self._batches = Batches(handler, self._files, options)

    def add_to(self, app: web.Application) -> None:
        """Add the routes to an application, unless the server has no batches."""
        if not self._available:
            return
        app.router.add_post("/v1/files", self._upload)
        app.router.add_get("/v1/files/{id}", self._file)
        app.router.add_get("/v1/files/{id}/content", self._content)
        app.router.add_delete("/v1/files/{id}", self._delete)
        app.router.add_post("/v1/batches", self._create)
        app.router.add_get("/v1/batches", self._list)
        app.router.add_get("/v1/batches/{id}", self._batch)
        app.router.add_post("/v1/batches/{id}/cancel", self._cancel)
        app.cleanup_ctx.append(self._advance_in_background)

    async def _advance_in_background(self, app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(self._advance())
        yield
        task.cancel()

    async def _advance(self) -> None:
        while True:
            self._batches.advance(time.monotonic())
            await asyncio.sleep(_ADVANCE_EVERY_S)

    async def _upload(self, request: web.Request) -> web.Response:
        self._check_key(request)
        if request.content_type != "multipart/form-data":
            raise ApiError(400, "a file is uploaded as multipart/form-data")
        name, purpose, content = "", "", None
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                raise ApiError(400, "a form with a form in it")
            if part.name == "purpose":
                purpose = await part.text()
            elif part.name == "file":
                name = part.filename or "file"
                content = await self._read(part)
        if purpose != "batch":
            raise ApiError(400, f"purpose: {purpose!r} is not 'batch'", param="purpose")
        if content is None:
            raise ApiError(400, "file: it is missing", param="file")
        return _json(self._files.add(name, purpose, content).to_dict())

    async def _read(self, part: BodyPartReader) -> bytes:
        # Read in pieces, so that a file that is too large is refused before it fills the memory.
        content = bytearray()
        while chunk := await part.read_chunk():
            content += chunk
            if len(content) > self._options.max_bytes:
                message = f"file: it is larger than {self._options.max_bytes} bytes"
                raise ApiError(413, message, param="file")
        return bytes(content)

    async def _file(self, request: web.Request) -> web.Response:
        self._check_key(request)
        return _json(self._files.get(request.match_info["id"]).to_dict())

    async def _content(self, request: web.Request) -> web.Response:
        self._check_key(request)
        content = self._files.get(request.match_info["id"]).content
        return web.Response(body=content, content_type="application/octet-stream")

    async def _delete(self, request: web.Request) -> web.Response:
        self._check_key(request)
        return _json(self._files.delete(request.match_info["id"]))

    async def _create(self, request: web.Request) -> web.Response:
        self._check_key(request)
        try:
            body = _BatchRequest.model_validate(load_json(await request.read()))
        except ValidationError as error:
            raise bad_request(error) from error
        metadata = body.metadata or {}
        now = time.monotonic()
        batch = self._batches.create(body.endpoint, body.input_file_id, metadata, now)
        return _json(batch.to_dict())

    async def _list(self, request: web.Request) -> web.Response:
        self._check_key(request)
        limit = request.query.get("limit", "20")
        if not limit.isdecimal() or not 1 <= int(limit) <= 100:
            raise ApiError(400, f"limit: {limit!r} is not from 1 to 100", param="limit")
        return _json(self._batches.page(request.query.get("after"), int(limit)))

    async def _batch(self, request: web.Request) -> web.Response:
        self._check_key(request)
        return _json(self._batches.get(request.match_info["id"]).to_dict())

    async def _cancel(self, request: web.Request) -> web.Response:
        self._check_key(request)
        return _json(self._batches.cancel(request.match_info["id"]).to_dict())

    def _check_key(self, request: web.Request) -> None:
        self._handler.check_key(request.headers.get("Authorization", ""))


def _json(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")
