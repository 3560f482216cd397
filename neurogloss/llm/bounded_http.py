"""HTTP within bounds: how long a whole exchange may last, and how many bytes it may bring.

The time-outs of HTTP clients hold for one read, so a server that sends a byte now and then would
keep a caller for ever. What a body takes in memory is known only once it is decompressed.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, aclosing, asynccontextmanager, contextmanager
from typing import IO, Any

import httpx
from anyio.from_thread import start_blocking_portal

from neurogloss.errors import AnswerTimeout, InputError, ServiceUnavailable
from neurogloss.llm.server_text import server_text

CONNECT_TIMEOUT_S = 10.0  # a server that is there takes a connection in less than one
ANSWER_BYTES = 32 << 20  # log probabilities of a long prompt have some megabytes
ACCEPTED = {"Accept-Encoding": "gzip, deflate"}
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_COMPRESSIONS = ("gzip", "deflate", "identity")  # a byte of theirs becomes 1,032 at most

_FROZEN_S = 1.0  # by which a timer is late only where the process did not run
_READS_S = 2.0  # in which what lies in the buffers of the system is read


class UnreadableBody(ServiceUnavailable):
    """The body of a response is too large, or is compressed in a way that is not read."""


class _Alarm:
    """Ends a block on time; once more later, if it was late itself: then the process was frozen."""

    def __init__(self, limit: asyncio.Timeout) -> None:
        self._limit, self._loop = limit, asyncio.get_running_loop()

    def set(self, seconds: float) -> None:
        self._due = self._loop.time() + seconds
        self._timer = self._loop.call_at(self._due, self._ring)

    def clear(self) -> None:
        self._timer.cancel()

    def _ring(self) -> None:
        now = self._loop.time()
        if now > self._due + _FROZEN_S:
            self.set(_READS_S)
        else:
            self._limit.reschedule(now)


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """End the block after so many seconds.

    A process that was frozen meanwhile first reads what has come, which may be a paid answer.

    Raises:
        AnswerTimeout: They have passed.
    """
    try:
        async with asyncio.timeout(None) as limit:
            alarm = _Alarm(limit)
            alarm.set(seconds)
            try:
                yield
            finally:
                alarm.clear()
    except TimeoutError as error:
        # A TimeoutError of something within the block, and not of this deadline.
        if not limit.expired():
            raise
        reason = f"no answer from the endpoint: it is not complete after {seconds:g} s"
        raise AnswerTimeout(reason) from error


async def whole(response: httpx.Response, most_bytes: int = ANSWER_BYTES) -> httpx.Response:
    """Return a streamed response with its body, decompressed.

    Raises:
        UnreadableBody: It is larger than `most_bytes`, or its compression is not supported.
    """
    read = _Bounded(response, most_bytes)
    async with aclosing(read):
        await read.aread()
    # A server may name any of Python's codecs, and some of them make no text of bytes.
    read.encoding = "utf-8"
    return read


async def parts(response: httpx.Response, most_bytes: int) -> AsyncIterator[bytes]:
    """Yield the decompressed body of a streamed response, then close it.

    Raises:
        UnreadableBody: As `whole` does.
    """
    async with aclosing(_Bounded(response, most_bytes)) as bounded:
        async for part in bounded.aiter_bytes():
            yield part


class _Bounded(httpx.Response):
    """A streamed response that is read within bounds.

    It takes the stream and the headers over: to make a second response of the text of both takes as
    long as reading the first.
    """

    def __init__(self, response: httpx.Response, most_bytes: int) -> None:
        super().__init__(response.status_code, headers=response.headers, stream=response.stream)
        self._most_bytes = most_bytes

    async def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        """Yield the decompressed body, which `aread` joins."""
        _check_compression(self.headers)
        size = 0
        async for part in super().aiter_bytes(chunk_size):
            size += len(part)
            if size > self._most_bytes:
                raise UnreadableBody(f"the answer has more than {self._most_bytes:,} bytes")
            yield part


def _check_compression(headers: httpx.Headers) -> None:
    """Refuse compression within compression: 3 KB of it may hold gigabytes."""
    names = headers.get_list("content-encoding", split_commas=True)
    if len(names) > 1 or any(name.strip().lower() not in _COMPRESSIONS for name in names):
        shown = server_text(", ".join(names), None)
        raise UnreadableBody(
            f"the answer is compressed by {shown!r}; only gzip or deflate, once, is read"
        )


@contextmanager
def way_of_environment() -> Iterator[None]:
    """Name the variables by which a client could not be made: it reads them by itself.

    Raises:
        InputError: They name no proxy, or no certificates.
    """
    try:
        yield
    except httpx.InvalidURL as error:
        raise InputError(
            "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY or NO_PROXY is not of the form http://HOST:PORT, "
            f"or HOST,HOST: {error}"
        ) from error
    except OSError as error:  # of TLS, too
        named = [f"{n} = {os.environ[n]!r}" for n in _CERTIFICATES if os.environ.get(n)]
        whose = named[0] if named else "this machine"
        reason = error.strerror or error
        raise InputError(f"the certificates of {whose} cannot be read: {reason}") from error


class BlockingHttp:
    """Exchanges with one server, for threads without an event loop. Safe for several threads.

    The exchanges run in an event loop of their own, because only there a deadline holds for names
    that are looked up, headers and bodies alike.

    All methods raise ServiceUnavailable where there is no whole response in time, and
    UnreadableBody as `whole` does.

    Args:
        base_url: The paths of requests are relative to it.
        secret: The key of the server, which is removed from messages.
        options: Of `httpx.AsyncClient`.
    """

    def __init__(self, base_url: str, secret: str | None = None, **options: Any) -> None:
        self._secret = secret
        key = {"Authorization": f"Bearer {secret}"} if secret else {}
        with way_of_environment():
            self._client = httpx.AsyncClient(
                base_url=base_url.rstrip("/") + "/",
                headers=ACCEPTED | key,
                timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
                # To follow one would turn a POST into a GET; the operator is told the right address
                # instead.
                follow_redirects=False,
                **options,
            )
        self._stack = ExitStack()
        self._portal = self._stack.enter_context(start_blocking_portal())

    def close(self) -> None:
        """Close the connections and end the event loop."""
        self._portal.call(self._client.aclose)
        self._stack.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        seconds: float,
        most_bytes: int = ANSWER_BYTES,
        **content: Any,
    ) -> httpx.Response:
        """Return the whole response to a request, whatever its status is."""
        response: httpx.Response = self._portal.call(
            self._send, method, path, content, seconds, most_bytes
        )
        return response

    def download(
        self, path: str, file: IO[bytes], *, seconds: float, most_bytes: int
    ) -> httpx.Response:
        """Write the body of a successful response into a file; return the response without it.

        A response that is no success is returned whole instead.
        """
        return self._portal.call(self._download, path, file, seconds, most_bytes)

    async def _send(
        self, method: str, path: str, content: Mapping[str, Any], seconds: float, most_bytes: int
    ) -> httpx.Response:
        async with self._answered(seconds):
            return await whole(await self._begin(method, path, **content), most_bytes)

    async def _download(
        self, path: str, file: IO[bytes], seconds: float, most_bytes: int
    ) -> httpx.Response:
        async with self._answered(seconds):
            response = await self._begin("GET", path)
            if not response.is_success:
                return await whole(response)
            async for part in parts(response, most_bytes):
                file.write(part)
            return httpx.Response(response.status_code)

    async def _begin(self, method: str, path: str, **content: Any) -> httpx.Response:
        request = self._client.build_request(method, path.lstrip("/"), **content)
        return await self._client.send(request, stream=True)

    @asynccontextmanager
    async def _answered(self, seconds: float) -> AsyncIterator[None]:
        try:
            async with within(seconds):
                yield
        except httpx.DecodingError as error:
            raise UnreadableBody(f"the answer cannot be decompressed: {error}") from error
        except (httpx.RequestError, OSError) as error:
            reason = server_text(str(error) or type(error).__name__, self._secret)
            raise ServiceUnavailable(f"no answer from the endpoint: {reason}") from error
