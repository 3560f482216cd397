"""How long an exchange with an endpoint may last."""

import asyncio
import socket
import time

import pytest

from neurogloss.errors import AnswerTimeout
from neurogloss.llm.bounded_http import within


async def read(seconds, meanwhile):
    ours, theirs = socket.socketpair()
    with theirs:
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            async with within(seconds):
                asyncio.get_running_loop().call_soon(meanwhile, theirs)
                return await reader.readexactly(1) + await reader.readexactly(5)
        finally:
            writer.close()


def test_what_came_while_the_process_was_frozen_is_read_though_its_time_is_over():
    def freeze(server):
        server.sendall(b"answer")
        time.sleep(1.5)

    assert asyncio.run(read(0.2, freeze)) == b"answer"


def test_a_process_that_was_frozen_does_not_wait_for_what_has_not_come():
    began = time.monotonic()
    with pytest.raises(AnswerTimeout, match=r"not complete after 0\.2 s"):
        asyncio.run(read(0.2, lambda server: time.sleep(1.5)))
    assert time.monotonic() - began < 6


def test_without_a_freeze_the_deadline_is_kept():
    began = time.monotonic()
    with pytest.raises(AnswerTimeout):
        asyncio.run(read(0.2, lambda server: server.sendall(b"a")))
    assert time.monotonic() - began < 1.2
