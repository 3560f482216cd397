"""An OpenAI-compatible server with made-up answers, to rehearse a run before paying for one.

Its answers depend on a seed and the request alone, so that a rehearsal can be repeated. Its limits,
prices and faults are options.
"""

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self

import orjson
from aiohttp import web
from aiohttp.typedefs import Middleware

from rehearsal.account import Stats
from rehearsal.batch_routes import BatchRoutes
from rehearsal.handler import CHAT, COMPLETIONS, EMBEDDINGS, ConnectionDropped, RequestHandler
from rehearsal.options import RehearsalOptions
from rehearsal.replies import NOTICE, ApiError

_HANDLER: Final = web.AppKey("rehearsal", RequestHandler)
# aiohttp's default, 1 MiB, is less than a request for 2,048 embeddings can have.
_MAX_BODY = 16 * 1024**2
_START_TIMEOUT_S = 30.0
# How long open connections may take at the end; each test that stops a server waits for it.
_SHUTDOWN_TIMEOUT_S = 0.2

_FRONT_PAGE = f"""This is the {NOTICE}.

What it answers is made up from a seed and the request, and says nothing about any neuron.

POST /v1/chat/completions
POST /v1/completions
POST /v1/embeddings
POST /v1/files, GET and DELETE /v1/files/ID, GET /v1/files/ID/content
POST and GET /v1/batches, GET /v1/batches/ID, POST /v1/batches/ID/cancel
GET  /v1/models
GET  /health
GET  /rehearsal/stats
"""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def create_app(
    options: RehearsalOptions, middlewares: Iterable[Middleware] = ()
) -> web.Application:
    """Build the server. Each application has its own limits and its own account.

    `middlewares` stand around each request, for tests that disturb what the server answers.
    """
    handler = RequestHandler(options)
    routes = _Routes(handler, options)
    # The first is the outermost, so a test's middleware sees errors as clients see them.
    around = [*middlewares, _errors_as_json]
    app = web.Application(middlewares=around, client_max_size=_MAX_BODY)
    app[_HANDLER] = handler
    app.on_response_prepare.append(_sign)
    app.router.add_get("/", routes.front_page)
    app.router.add_get("/health", routes.health)
    app.router.add_get("/rehearsal/stats", routes.stats)
    app.router.add_get("/v1/models", routes.models)
    app.router.add_post(CHAT, routes.complete)
    app.router.add_post(COMPLETIONS, routes.complete)
    app.router.add_post(EMBEDDINGS, routes.complete)
    BatchRoutes(handler, options).add_to(app)
    return app


def serve(options: RehearsalOptions) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        OSError: The server cannot listen on the address.
    """
    asyncio.run(_serve(options))


class RehearsalServer:
    """The server in a background thread, for the length of a `with` block.

    Attributes:
        base_url: The API's base URL, such as "http://127.0.0.1:40123/v1". Set on entering.
    """

    base_url: str

    def __init__(
        self, options: RehearsalOptions | None = None, middlewares: Iterable[Middleware] = ()
    ) -> None:
        self._app = create_app(options or RehearsalOptions(), middlewares)
        self._options = options or RehearsalOptions()
        self._started: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(target=self._run, name="rehearsal-server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        url, self._loop, self._stop = self._started.result(_START_TIMEOUT_S)
        self.base_url = f"{url}/v1"
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # An asyncio.Event may be set only from the thread of its loop.
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def stats(self) -> Stats:
        """Return the account; after the server has stopped, its final state."""
        if not self._thread.is_alive():
            return self._app[_HANDLER].stats()
        return asyncio.run_coroutine_threadsafe(self._stats(), self._loop).result()

    async def _stats(self) -> Stats:
        return self._app[_HANDLER].stats()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            # A failure to start is raised in `__enter__`, by the thread that waits for the future.
            if self._started.done():
                raise
            self._started.set_exception(error)

    async def _main(self) -> None:
        stop = asyncio.Event()
        async with _running(self._app, self._options) as url:
            self._started.set_result((url, asyncio.get_running_loop(), stop))
            await stop.wait()


class _Routes:
    def __init__(self, handler: RequestHandler, options: RehearsalOptions) -> None:
        self._handler = handler
        self._models = options.models or ("rehearsal",)
        self._count = 0

    async def complete(self, request: web.Request) -> web.Response:
        body = await request.read()
        started = time.monotonic()
        self._count += 1
        try:
            authorization = request.headers.get("Authorization", "")
            reply = self._handler.reply(body, authorization, started, request.path)
        except ConnectionDropped:
            # aiohttp wants a response, which the closed connection does not send.
            _hang_up(request)
            return web.Response()
        if reply.delay_s > 0:
            await asyncio.sleep(reply.delay_s)
        headers = {
            **reply.headers,
            "x-request-id": f"rehearsal-{self._count:08d}",
            "openai-processing-ms": str(round(1000 * (time.monotonic() - started))),
        }
        return web.Response(
            status=reply.status, body=reply.body, headers=headers, content_type=reply.content_type
        )

    async def models(self, request: web.Request) -> web.Response:
        self._handler.check_key(request.headers.get("Authorization", ""))
        models = [
            {"id": name, "object": "model", "created": 0, "owned_by": NOTICE, "description": NOTICE}
            for name in self._models
        ]
        return _json({"object": "list", "data": models})

    async def stats(self, request: web.Request) -> web.Response:
        return _json(self._handler.stats())

    async def health(self, request: web.Request) -> web.Response:
        return _json({"status": "ok", "description": NOTICE})

    async def front_page(self, request: web.Request) -> web.Response:
        return web.Response(text=_FRONT_PAGE)


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApiError as error:
        return web.Response(status=error.status, body=error.body(), content_type="application/json")
    except web.HTTPException as error:
        message = f"{error.reason}: {request.method} {request.path}"
        body = ApiError(error.status, message).body()
        return web.Response(status=error.status, body=body, content_type="application/json")


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = NOTICE


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()


def _json(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")


@asynccontextmanager
async def _running(app: web.Application, options: RehearsalOptions) -> AsyncIterator[str]:
    """Listen while the context is open. Yields the URL, with the port that was chosen."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, options.host, options.port).start()
        # Addresses of IPv6 have two more parts.
        host, port = runner.addresses[0][:2]
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def _serve(options: RehearsalOptions) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with _running(create_app(options), options) as url:
        print(f"{url}/v1 ({NOTICE}); stop it with Ctrl-C", flush=True)
        await stop.wait()
