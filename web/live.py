"""Pages that change while they are open: one reader for all of them, by server-sent events.

The live parts of a page are pieces of HTML, by id. Each topic is read once a second, however many
pages are open, and each page is sent the parts that have changed.
"""

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Hashable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Generic, TypeVar

import anyio
from starlette.responses import StreamingResponse
from starlette.types import Message, Send

Topic = TypeVar("Topic", bound=Hashable)
Parts = Mapping[str, str]
Read = Callable[[Sequence[Topic]], Mapping[Topic, Parts]]

EVERY_S = 1.0
SILENT_S = 15.0  # after which a comment is sent, so that nothing between takes the stream for dead
SLOWEST_S = 30.0  # that a page may take to receive a message
MOST_LISTENERS = 1000  # open pages; each has a connection of its own

log = logging.getLogger(__name__)


class Live(Generic[Topic]):
    """Reads the parts of topics while somebody listens. Belongs to an event loop.

    Args:
        read: Returns the parts of some topics; it is called in a thread.
        every_s: How often.
    """

    def __init__(self, read: Read[Topic], every_s: float = EVERY_S) -> None:
        self._read, self._every_s = read, every_s
        self._listeners: dict[Topic, set[_Listener]] = defaultdict(set)
        self._latest: dict[Topic, Parts] = {}
        self._reading: asyncio.Task[None] | None = None
        self._is_closed = False

    async def events(self, topic: Topic) -> AsyncGenerator[str]:
        """Yield server-sent events with the parts of a topic, as they change, until `close`."""
        listener = _Listener(self._latest.get(topic, {}))
        self._listeners[topic].add(listener)
        try:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read_on())
            while not self._is_closed:
                yield _event(await listener.changes())
        finally:
            self._listeners[topic].discard(listener)
            if not self._listeners[topic]:
                del self._listeners[topic]
                # Or a page that opens later would begin with what was read long ago.
                self._latest.pop(topic, None)

    @property
    def listeners(self) -> int:
        """How many pages listen."""
        return sum(map(len, self._listeners.values()))

    @property
    def is_full(self) -> bool:
        """Whether as many pages listen as may at a time."""
        return self.listeners >= MOST_LISTENERS

    def close(self) -> None:
        """End all streams: a server that stops waits for them."""
        self._is_closed = True
        for listeners in self._listeners.values():
            for listener in listeners:
                # Wakes the listeners, which would end their streams only after `SILENT_S`
                # otherwise.
                listener.changed.set()

    async def _read_on(self) -> None:
        while self._listeners and not self._is_closed:
            try:
                # In a thread, since a query would stop the event loop and all pages with it.
                found = await asyncio.to_thread(self._read, list(self._listeners))
            except Exception:  # of any kind: pages keep what they show until it can be read again
                log.exception("pages not read")
            else:
                for topic, parts in found.items():
                    self._tell(topic, parts)
            await asyncio.sleep(self._every_s)

    def _tell(self, topic: Topic, parts: Parts) -> None:
        if topic not in self._listeners:  # the last one left meanwhile
            return
        before = self._latest.get(topic, {})
        changed = {name: html for name, html in parts.items() if before.get(name) != html}
        self._latest[topic] = parts
        for listener in self._listeners[topic]:
            listener.add(changed)


class _Listener:
    """One open page. It holds the latest version of each part that was not sent yet.

    So a slow page skips versions, and its queue cannot grow.
    """

    def __init__(self, parts: Parts) -> None:
        self._pending = dict(parts)
        self.changed = asyncio.Event()
        if parts:
            self.changed.set()

    def add(self, parts: Parts) -> None:
        if parts:
            self._pending.update(parts)
            self.changed.set()

    async def changes(self) -> Parts:
        """Return what has changed; nothing where nothing has for long."""
        try:
            await asyncio.wait_for(self.changed.wait(), SILENT_S)
        except TimeoutError:
            return {}
        self.changed.clear()
        changes, self._pending = self._pending, {}
        return changes


def _event(parts: Parts) -> str:
    messages = (json.dumps({"id": name, "html": html}) for name, html in parts.items())
    return "".join(f"data: {message}\n\n" for message in messages) or ": nothing new\n\n"


class EventStream(StreamingResponse):
    """A stream of events. A page that does not receive them is given up."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[str]) -> None:
        self._events = events
        # nginx would hold the events back in its buffer.
        super().__init__(events, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})

    async def stream_response(self, send: Send) -> None:
        """Send the events, each within `SLOWEST_S` seconds."""

        async def send_soon(message: Message) -> None:
            with anyio.fail_after(SLOWEST_S):
                await send(message)

        async with aclosing(self._events):
            with suppress(TimeoutError):
                await super().stream_response(send_soon)
