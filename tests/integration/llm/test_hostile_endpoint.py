"""Endpoints whose answers have no end, or become very large."""

import asyncio
import time
from contextlib import closing

import pytest
from httpx_aiohttp import AiohttpTransport
from redis.asyncio import Redis

from neurogloss.errors import EndpointUnreachable, RequestRejected, ServiceUnavailable
from neurogloss.llm import batch_client, single_calls
from neurogloss.llm.batch_client import BatchClient
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.limiter import Limiter
from neurogloss.llm.model_client import ModelClient
from neurogloss.llm.redis_limits import RedisLimits
from neurogloss.llm.single_calls import SingleCalls
from tests.support.calls import questions
from tests.support.raw_server import (
    bomb,
    dripped_body,
    dripped_head,
    endless_body,
    false_compression,
    head,
    nested_bomb,
    raw_server,
    unknown_compression,
)

PATIENCE_S = 1.0
NOWHERE = Redis(port=1)  # which is not asked
ANSWERS = [
    pytest.param(dripped_body, "not complete after 1 s", id="dripped body"),
    pytest.param(dripped_head, "not complete after 1 s", id="dripped head"),
    pytest.param(endless_body, "more than 33,554,432 bytes|not complete", id="endless body"),
    pytest.param(bomb, "more than 33,554,432 bytes|not complete", id="bomb"),
    pytest.param(nested_bomb, "compressed by 'gzip, gzip, gzip'", id="nested bomb"),
    pytest.param(unknown_compression, "compressed by 'br'", id="unknown compression"),
    pytest.param(false_compression, "decod|decompress", id="false compression"),
]


def endpoint_at(url):
    return Endpoint(name="here", base_url=url, timeout_s=PATIENCE_S)


def batch_client_of(url):
    return closing(BatchClient(endpoint_at(url)))


@pytest.fixture
def ends():
    """Whatever a test does ends soon."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 10


@pytest.mark.usefixtures("ends")
@pytest.mark.parametrize(("answer", "message"), ANSWERS)
def test_a_call_of_a_run_ends(answer, message):
    async def post(endpoint):
        transport = AiohttpTransport()
        limiter = Limiter(RedisLimits(NOWHERE, endpoint, "m", "here"))
        try:
            await ModelClient(transport, endpoint, limiter).post(questions(1)[0])
        finally:
            await transport.aclose()

    with raw_server(answer) as url, pytest.raises(ServiceUnavailable, match=message):
        asyncio.run(post(endpoint_at(url)))


@pytest.mark.usefixtures("ends")
@pytest.mark.parametrize(("answer", "message"), ANSWERS)
def test_a_single_call_ends(answer, message, monkeypatch):
    monkeypatch.setattr(single_calls, "ATTEMPTS", 1)
    with (
        raw_server(answer) as url,
        SingleCalls(endpoint_at(url), "m") as calls,
        pytest.raises(EndpointUnreachable, match=message),
    ):
        calls.ask({"messages": []})


@pytest.mark.usefixtures("ends")
@pytest.mark.parametrize(("answer", "message"), ANSWERS)
def test_a_question_about_a_batch_ends(answer, message, monkeypatch):
    monkeypatch.setattr(batch_client, "_EXCHANGE_S", PATIENCE_S)
    with (
        raw_server(answer) as url,
        batch_client_of(url) as client,
        pytest.raises(ServiceUnavailable, match=message),
    ):
        client.get("b")


@pytest.mark.usefixtures("ends")
@pytest.mark.parametrize("answer", [endless_body, bomb, nested_bomb, unknown_compression])
def test_a_file_of_results_that_never_ends_is_refused(answer, monkeypatch):
    monkeypatch.setattr(batch_client, "RESULTS_BYTES", 40 << 20)
    with (
        raw_server(answer) as url,
        batch_client_of(url) as client,
        pytest.raises(RequestRejected, match=r"bytes|compressed"),
        client.download("f"),
    ):
        pass


@pytest.mark.usefixtures("ends")
def test_a_dripped_file_of_results_is_waited_for_no_longer_than_a_transfer_may_last(monkeypatch):
    monkeypatch.setattr(batch_client, "_TRANSFER_S", PATIENCE_S)
    with (
        raw_server(dripped_body) as url,
        batch_client_of(url) as client,
        pytest.raises(ServiceUnavailable, match="after 1 s"),
        client.download("f"),
    ):
        pass


def test_a_list_of_batches_that_never_ends_is_given_up(monkeypatch):
    monkeypatch.setattr(batch_client, "_MOST_PAGES", 20)
    page = head() + b'{"data": [{"id": "of somebody"}], "has_more": true}'
    with (
        raw_server(lambda send: send(page)) as url,
        batch_client_of(url) as client,
        pytest.raises(ServiceUnavailable, match="more than 20 pages"),
    ):
        client.find("mark")


@pytest.mark.parametrize("charset", ["hex", "rot13", "idna", "zip"])
def test_an_error_in_a_charset_that_is_none_is_still_an_error(charset):
    answer = b"HTTP/1.1 400 Bad\r\nContent-Type: text/html; charset=%b\r\n\r\nno" % charset.encode()
    with (
        raw_server(lambda send: send(answer)) as url,
        SingleCalls(endpoint_at(url), "m") as calls,
        pytest.raises(RequestRejected, match="400: no"),
    ):
        calls.ask({"messages": []})


@pytest.mark.parametrize("digits", [400, 5000])
def test_limits_of_any_length_in_headers_are_no_defect(digits):
    number = "9" * digits
    fields = [f"x-ratelimit-{kind}: {number}" for kind in ("limit-requests", "limit-tokens")]
    fields += [f"retry-after: {number}", f"x-ratelimit-reset-tokens: {number}s"]

    async def post(url):
        endpoint, transport = endpoint_at(url), AiohttpTransport()
        limiter = Limiter(RedisLimits(NOWHERE, endpoint, "m", "here"))
        response, _ = await ModelClient(transport, endpoint, limiter).post(questions(1)[0])
        await transport.aclose()
        return response.status_code

    with raw_server(lambda send: send(head(*fields) + b"{}")) as url:
        assert asyncio.run(post(url)) == 200


def test_a_file_of_results_is_read_to_its_end_whatever_words_it_holds():
    content = b'{"error": {"message": "of one call"}}\n' * 3
    with raw_server(lambda send: send(head() + content)) as url:
        client = BatchClient(endpoint_at(url))
        try:
            with client.download("f") as file:
                assert file.read() == content
        finally:
            client.close()
