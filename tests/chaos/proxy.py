"""The network between a process and a service, which can be cut, frozen and healed."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

CHUNK = 1 << 16


class Network:
    """The event loop of all links, in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._links: list[Link] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._thread.start()

    def link(self, socket: Path) -> "Link":
        """Open a port of this machine that leads to a unix socket."""
        opening = Link.open(self._loop, socket)
        self._links.append(asyncio.run_coroutine_threadsafe(opening, self._loop).result())
        return self._links[-1]

    def close(self) -> None:
        """Close all links, and end the thread."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        for link in self._links:
            link.close()
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others, timeout=1)
        await asyncio.sleep(0.05)  # transports close a turn of the loop later


class Link:
    """One port. While frozen, bytes wait; while cut, connections are closed and refused.

    While mute, what is asked arrives, and what is answered waits. A connection can also be broken
    off with what it asks on its way: that is done, and the answer is lost. Or, once it has asked
    something, its process is done something to, or it alone is held for a while.
    """

    port: int
    _server: asyncio.Server

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: Path) -> None:
        self._loop, self._socket = loop, socket
        self._to, self._from, self._whole = asyncio.Event(), asyncio.Event(), True
        self._to.set()
        self._from.set()
        self._ends: set[asyncio.StreamWriter] = set()
        self._word, self._times = b"", 0
        self._then: Callable[[], None] | None = None
        self._held_s = 0.0

    @classmethod
    async def open(cls, loop: asyncio.AbstractEventLoop, socket: Path) -> "Link":
        link = cls(loop, socket)
        link._server = await asyncio.start_server(link._join, "127.0.0.1", 0)
        link.port = link._server.sockets[0].getsockname()[1]
        return link

    def close(self) -> None:
        """Take no connections any more, and end those there are."""
        self._server.close()
        self._set(True, True, False)

    def cut(self) -> None:
        self._loop.call_soon_threadsafe(self._set, True, True, False)

    def freeze(self) -> None:
        self._loop.call_soon_threadsafe(self._set, False, False, True)

    def mute(self) -> None:
        self._loop.call_soon_threadsafe(self._set, True, False, True)

    def break_off(self, word: bytes, times: int) -> None:
        """Break so many connections off, each when what it asks has this word in it."""
        self._word, self._times = word, times

    def after(self, word: bytes, then: Callable[[], None]) -> None:
        """Do something once, when what is asked has had this word in it."""
        self._word, self._then = word, then

    def hold(self, word: bytes, seconds: float) -> None:
        """Hold one connection so long, once what it asks has had this word in it."""
        self._word, self._held_s = word, seconds

    def lead_to(self, socket: Path) -> None:
        """Lead to another socket, from the next connection on, and end those there are."""
        if socket != self._socket:
            self._socket = socket
            self.cut()
            self.heal()

    def is_whole(self) -> bool:
        """Return whether bytes flow both ways."""
        return self._whole and self._to.is_set() and self._from.is_set()

    def heal(self) -> None:
        self._times, self._then, self._held_s = 0, None, 0.0
        self._loop.call_soon_threadsafe(self._set, True, True, True)

    def _set(self, to: bool, back: bool, whole: bool) -> None:
        self._whole = whole
        (self._to.set if to else self._to.clear)()
        (self._from.set if back else self._from.clear)()
        if not whole:
            for end in self._ends:
                end.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._to.wait()
            if not self._whole:
                raise OSError("cut")
            far_reader, far_writer = await asyncio.open_unix_connection(str(self._socket))
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self._ends |= ends
        there = self._pump(reader, far_writer, self._to, asker=writer)
        back = self._pump(far_reader, writer, self._from)
        await asyncio.gather(there, back)
        self._ends -= ends

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        flows: asyncio.Event,
        asker: asyncio.StreamWriter | None = None,
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                await flows.wait()
                breaks_off = asker is not None and self._times > 0 and self._word in data
                if asker is not None and breaks_off:
                    self._times -= 1
                    asker.transport.abort()
                writer.write(data)
                await writer.drain()
                if breaks_off:
                    break
                if asker is not None and self._then is not None and self._word in data:
                    then, self._then = self._then, None
                    then()
                if asker is not None and self._held_s and self._word in data:
                    seconds, self._held_s = self._held_s, 0.0
                    await asyncio.sleep(seconds)
        writer.close()
