"""Live pages: one reader, however many listen, and only what has changed."""

import asyncio
import json
from collections import Counter

import pytest

from web.live import EventStream, Live

EVERY_S = 0.01


class Counters:
    """What is read: parts by topic, and how often each was read."""

    def __init__(self):
        self.parts = {"a": {"one": "1", "other": "x"}, "b": {"one": "1"}}
        self.reads = Counter()
        self.calls = 0

    def read(self, topics):
        self.calls += 1
        self.reads.update(topics)
        return {topic: dict(self.parts[topic]) for topic in topics}


def messages(event):
    lines = [line.removeprefix("data: ") for line in event.splitlines() if line]
    return {m["id"]: m["html"] for m in map(json.loads, lines)}


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


def test_a_page_gets_all_parts_first_and_then_those_that_change():
    async def scene():
        counters = Counters()
        live = Live(counters.read, EVERY_S)
        events = live.events("a")
        assert messages(await anext(events)) == {"one": "1", "other": "x"}
        counters.parts["a"]["one"] = "2"
        assert messages(await anext(events)) == {"one": "2"}
        await events.aclose()

    asyncio.run(scene())


def test_a_hundred_pages_are_read_as_one_and_nothing_is_read_for_nobody():
    async def scene():
        counters = Counters()
        live = Live(counters.read, EVERY_S)
        pages = [live.events("a") for _ in range(100)]
        for page in pages:
            await anext(page)
        before, calls = counters.reads["a"], counters.calls
        await until(lambda: counters.calls >= calls + 5)
        assert counters.reads["a"] - before == counters.calls - calls
        for page in pages:
            await page.aclose()
        assert live.listeners == 0
        await asyncio.sleep(5 * EVERY_S)  # within which the reader ends
        calls = counters.calls
        await asyncio.sleep(5 * EVERY_S)
        assert counters.calls == calls

    asyncio.run(scene())


def test_a_page_that_reads_slowly_gets_the_latest_of_each_part_once():
    async def scene():
        counters = Counters()
        live = Live(counters.read, EVERY_S)
        slow, quick = live.events("a"), live.events("a")
        await anext(slow)
        await anext(quick)
        for number in range(50):
            counters.parts["a"]["one"] = f"<b>{number}</b>"
            await anext(quick)
        assert messages(await anext(slow)) == {"one": "<b>49</b>"}
        await slow.aclose()
        await quick.aclose()

    asyncio.run(scene())


def test_what_cannot_be_read_now_is_read_later():
    async def scene():
        counters = Counters()
        fails = [True]

        def read(topics):
            if fails and fails.pop():
                raise OSError("away")
            return counters.read(topics)

        events = Live(read, EVERY_S).events("b")
        assert messages(await anext(events)) == {"one": "1"}
        await events.aclose()

    asyncio.run(scene())


def test_all_streams_end_when_the_server_stops():
    async def scene():
        live = Live(Counters().read, EVERY_S)
        pages = [live.events("a") for _ in range(3)]
        for page in pages:
            await anext(page)
        waiting = [asyncio.create_task(_drained(page)) for page in pages]
        live.close()
        async with asyncio.timeout(5):
            await asyncio.gather(*waiting)

    asyncio.run(scene())


async def _drained(page):
    async for _ in page:
        pass


def test_a_page_that_receives_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr("web.live.SLOWEST_S", 0.05)

    async def scene():
        live = Live(Counters().read, EVERY_S)

        async def send(message):
            if message["type"] == "http.response.body":
                await asyncio.sleep(60)

        async def receive():
            await asyncio.sleep(60)

        stream = EventStream(live.events("a"))
        async with asyncio.timeout(5):
            await stream({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)
        assert live.listeners == 0

    asyncio.run(scene())


@pytest.mark.parametrize("html", ["line\nline", "\r\n\r\n", 'data: "x"', "</script>"])
def test_no_html_breaks_out_of_its_event(html):
    async def scene():
        counters = Counters()
        counters.parts["b"]["one"] = html
        events = Live(counters.read, EVERY_S).events("b")
        event = await anext(events)
        assert event.count("\n") == 2
        assert event.endswith("\n\n")
        assert messages(event) == {"one": html}
        await events.aclose()

    asyncio.run(scene())
