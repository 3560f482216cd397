"""`neurogloss serve` with pages open: what changes is sent, and Ctrl-C ends it at once."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import text

from tests.support.served import address_of


@pytest.fixture
def server(whole_url, services):
    """A server of a database with a finished run, and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "serve", "--port", "0"],
        env=os.environ | {"DATABASE_URL": whole_url, "REDIS_URL": services.redis_url},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, address_of(process)
    finally:
        process.kill()
        process.communicate()


def parts_of(lines):
    """Yield the parts that a stream of events sends, as (id, HTML)."""
    for line in lines:
        if line.startswith("data: "):
            message = json.loads(line.removeprefix("data: "))
            yield message["id"], message["html"]


def test_a_page_is_told_what_changes_and_the_server_stops_while_it_is_open(server, whole):
    process, address = server
    with httpx.stream("GET", f"{address}/runs/whole/events", timeout=20) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        parts = parts_of(answer.iter_lines())
        assert next(parts)[0] == "part-state"
        with whole.begin() as connection:
            connection.execute(
                text("UPDATE run SET state = 'paused', pause_cause = 'person', pause_reason = ''")
            )
        assert any(name == "part-state" and "somebody paused it" in html for name, html in parts)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        for _ in parts:
            pass
    _, logged = process.communicate(timeout=20)
    assert time.monotonic() - started < 4
    assert process.returncode == 0
    assert "Traceback" not in logged


def test_a_hundred_pages_may_be_open(server):
    _, address = server

    def first_part(_):
        with httpx.stream("GET", f"{address}/runs/whole/events", timeout=30) as answer:
            return next(parts_of(answer.iter_lines()))[0]

    with ThreadPoolExecutor(100) as pages:
        assert set(pages.map(first_part, range(100))) == {"part-state"}
