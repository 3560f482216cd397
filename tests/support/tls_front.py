"""TLS in front of the tests' Postgres and Redis, whose builds have none: for clients it is real."""

import asyncio
import ssl
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

UNNAMED = "127.0.0.2"
"""Where the server listens too, though its certificate does not have this address."""

ROOT = Path(__file__).parents[2]
_SSL_REQUEST = bytes.fromhex(
    "0000000804d2162f"
)  # of Postgres: its protocol asks before it encrypts


def make_certificates(folder: Path, *hosts: str) -> None:
    """Make ca.crt, server.crt and server.key with the script that users have."""
    script = ROOT / "deploy/tls/make_certificates"
    subprocess.run([script, folder, *hosts], check=True, capture_output=True, timeout=60)


@contextmanager
def tls_front(certificates: Path, socket: Path, *, is_postgres: bool = False) -> Iterator[int]:
    """Yield a port of loopback that speaks TLS and passes on what it hears to a unix socket."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "server.crt", certificates / "server.key")

    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            if is_postgres:
                if await reader.readexactly(8) != _SSL_REQUEST:  # plain text is refused
                    writer.close()
                    return
                writer.write(b"S")
            await writer.start_tls(context)
            inner = await asyncio.open_unix_connection(str(socket))
            writers.update((writer, inner[1]))
            await asyncio.gather(_pass_on(reader, inner[1]), _pass_on(inner[0], writer))

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    port = server.sockets[0].getsockname()[1]
    unnamed = loop.run_until_complete(asyncio.start_server(serve, UNNAMED, port))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(_end([server, unnamed], writers), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


async def _end(servers: Iterable[asyncio.Server], writers: Iterable[asyncio.StreamWriter]) -> None:
    for server in servers:
        server.close()
    for writer in writers:
        writer.transport.abort()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=5)
    await asyncio.sleep(0.1)  # the loop closes what was aborted
