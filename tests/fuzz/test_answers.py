"""Readers of what endpoints send, on replies of any content: read whole, or a known error."""

import json

import httpx
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from neurogloss.errors import Malformed, RowError, RunError, TransientError
from neurogloss.llm.batch_client import BatchClient
from neurogloss.llm.batch_results import read_result
from neurogloss.llm.endpoint import Endpoint, Price
from neurogloss.llm.responses import (
    Completion,
    UnsupportedParameter,
    raise_for_error,
    read_completion,
)
from neurogloss.llm.retry_after import retry_after
from neurogloss.llm.token_logprobs import chat_places, first_place, prompt_places
from neurogloss.neurons.distributions import unpack_distributions
from neurogloss.neurons.explanations import clean_explanation
from neurogloss.neurons.simulators.base import ModelReply
from neurogloss.neurons.simulators.kinds import SimulatorChoice, simulator_of
from tests.support.hostile_text import HOSTILE, hostile_tokens, json_values

KEYS = (
    "choices",
    "message",
    "content",
    "text",
    "refusal",
    "finish_reason",
    "logprobs",
    "tokens",
    "token",
    "logprob",
    "top_logprobs",
    "prompt_logprobs",
    "bytes",
    "decoded_token",
    "usage",
    "prompt_tokens",
    "completion_tokens",
    "prompt_tokens_details",
    "cached_tokens",
    "error",
    "code",
    "param",
    "type",
    "data",
    "id",
    "status",
    "metadata",
    "has_more",
    "response",
    "status_code",
    "body",
    "custom_id",
    "request_id",
    "0",
    "1",
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from((*HOSTILE, "stop", "length", "content_filter", "billing", "7", " 10", 1e308)),
)
FREE = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=4)), inner, max_size=5),
    ),
    max_leaves=20,
)
ASKED = ({}, {"prompt": "a\tunknown\nb\tunknown", "echo": True}, {"prompt": "x"}, {"max_tokens": 1})


def dumped(value):
    """JSON as servers write it, with numbers of any size and NaN."""
    return json.dumps(value).encode("utf-8", errors="surrogatepass")


def of_keys(**parts):
    return st.fixed_dictionaries(
        {}, optional={name: st.one_of(part, FREE) for name, part in parts.items()}
    )


ENTRY = of_keys(
    token=st.text(max_size=4),
    logprob=st.floats(),
    bytes=st.lists(st.integers(0, 255)),
    top_logprobs=st.lists(of_keys(token=st.text(max_size=3), logprob=st.floats()), max_size=3),
)
TOPS = st.lists(st.dictionaries(st.text(max_size=3), st.floats(), max_size=3), max_size=4)
LOGPROBS = of_keys(
    content=st.lists(ENTRY, max_size=4), tokens=st.lists(st.text(max_size=4)), top_logprobs=TOPS
)
VLLM = st.lists(
    st.one_of(
        st.none(),
        st.dictionaries(
            st.text(max_size=4),
            of_keys(decoded_token=st.text(max_size=4), logprob=st.floats()),
            max_size=3,
        ),
    ),
    max_size=4,
)
CHOICE = of_keys(
    message=of_keys(content=st.text(max_size=20), refusal=st.text(max_size=20)),
    text=st.text(max_size=30),
    finish_reason=st.text(max_size=8),
    logprobs=LOGPROBS,
    prompt_logprobs=VLLM,
)
COMPLETION = of_keys(
    choices=st.lists(CHOICE, min_size=1, max_size=2),
    usage=of_keys(
        prompt_tokens=st.integers(),
        completion_tokens=st.integers(),
        prompt_tokens_details=FREE,
    ),
)
CUT = st.integers(0, 10_000)
CONTENT = st.one_of(
    COMPLETION.map(dumped),
    st.builds(lambda body, cut: dumped(body)[:cut], COMPLETION, CUT),
    st.binary(max_size=60),
    FREE.map(dumped),
)
DEEP = b"[" * 200_000


@given(CONTENT, st.sampled_from(ASKED))
@example(DEEP, {})
@example(b'{"choices":' * 60_000, {})
def test_any_completion_is_read_or_may_be_asked_for_again(content, asked):
    try:
        found = read_completion(content, asked)
    except (TransientError, RunError) as error:  # an error of the run may stand in a success
        assert len(str(error)) < 1000
        return
    assert "\0" not in found.text
    assert 0 <= found.prompt_tokens < 2**31
    assert found.distributions is None or len(found.distributions) % 26 == 0
    assert Price(input=1.0, output=1.0).cost(
        found.prompt_tokens, found.cached_tokens, found.completion_tokens
    ) == pytest.approx((found.prompt_tokens + found.completion_tokens) / 1e6)


header = st.text(alphabet=st.characters(codec="ascii", exclude_characters="\0\r\n"), max_size=12)
HEADERS = st.dictionaries(
    st.sampled_from(
        (
            "retry-after",
            "retry-after-ms",
            "x-ratelimit-reset-requests",
            "x-ratelimit-reset-tokens",
            "x-request-id",
            "content-type",
        )
    ),
    st.one_of(header, st.sampled_from(("1e999", "nan", "-1", "6m0s", "1.2.3s", "9" * 400, "h"))),
)
ERROR = of_keys(
    error=of_keys(
        message=st.text(max_size=30),
        code=st.text(max_size=10),
        type=FREE,
        param=st.sampled_from(("temperature", "logprobs.x")),
    )
)


@given(st.integers(100, 599), st.one_of(ERROR.map(dumped), CONTENT), HEADERS)
@example(400, DEEP, {})
def test_any_reply_that_is_an_error_is_a_known_one(status, content, headers):
    response = httpx.Response(status, content=content, headers=headers)
    try:
        raise_for_error(response, "sk-secret")
    except (TransientError, RowError, RunError, UnsupportedParameter) as error:
        assert len(str(error)) < 2500
        return
    assert 200 <= status < 300


@given(HEADERS)
def test_a_wait_is_never_longer_than_two_minutes(headers):
    assert 0 <= retry_after(httpx.Headers(headers)) <= 120


LINE = of_keys(
    custom_id=st.sampled_from(("00ff", "xyz", "")),
    id=st.text(max_size=5),
    response=of_keys(status_code=st.integers(-1, 700), body=COMPLETION, request_id=FREE),
    error=of_keys(code=st.sampled_from(("batch_expired", "batch_cancelled", "x")), message=FREE),
)


@given(st.one_of(LINE.map(dumped), CONTENT), st.sampled_from(ASKED))
@example(DEEP, {})
def test_any_line_of_a_batch_is_an_answer_or_a_known_error(line, asked):
    result = read_result(line)
    if result is None:
        return
    outcome = result.outcome(asked, "sk-secret")
    known = (Completion, RowError, RunError, TransientError, UnsupportedParameter, type(None))
    assert isinstance(outcome, known)


def client_that_is_answered(status, content):
    """Return a client whose endpoint answers anything."""
    reply = httpx.Response(status, content=content)
    transport = httpx.MockTransport(lambda _: reply)
    return BatchClient(Endpoint(name="here", base_url="http://here/v1"), transport)


BATCH = of_keys(
    id=st.text(max_size=5),
    status=st.text(max_size=8),
    metadata=FREE,
    output_file_id=st.text(max_size=5),
    created_at=st.integers(),
    errors=ERROR,
)
PAGE = of_keys(data=st.lists(BATCH, max_size=3), has_more=st.just(False))


@given(
    st.sampled_from((200, 200, 200, 404, 429, 500)),
    st.one_of(BATCH.map(dumped), PAGE.map(dumped), CONTENT),
)
@example(200, DEEP)
@example(200, b"[]")
def test_any_reply_about_a_batch_is_read_or_a_known_error(status, content):
    client = client_that_is_answered(status, content)
    for ask in (
        lambda: client.upload("f", "/chat/completions", [(b"1", b"{}")]),
        lambda: client.create("/chat/completions", "f", "mark"),
        lambda: client.find("mark"),
        lambda: client.get("b"),
        lambda: client.cancel("b"),
    ):
        try:
            ask()
        except (TransientError, RowError, RunError, UnsupportedParameter):
            continue
    client.close()


OF_LOGPROBS = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError)


@given(st.one_of(st.lists(ENTRY, max_size=6), FREE), st.text(max_size=20))
def test_log_probabilities_of_chats_are_packed_whole_or_refused(content, text):
    try:
        packed = [chat_places(content, text), first_place(content)]
    except OF_LOGPROBS:  # which `read_completion` takes for no completion
        return
    for places in map(unpack_distributions, packed):
        assert ((places["covered"] >= 0) & (places["probabilities"] >= 0).all(axis=1)).all()


@given(CHOICE, FREE, hostile_tokens)
def test_log_probabilities_of_prompts_are_packed_whole_or_refused(choice, body, tokens):
    prompt = "".join(f"{token}\tunknown\n" for token in tokens)
    try:
        packed = prompt_places(choice, body if isinstance(body, dict) else {}, prompt)
    except OF_LOGPROBS:
        return
    if packed is not None:
        places = unpack_distributions(packed)
        assert ((places["covered"] >= 0) & (places["probabilities"] >= 0).all(axis=1)).all()


def written(values):
    return orjson.dumps({str(n): value for n, value in enumerate(values)}).decode()


NUMBERS = st.one_of(st.integers(-2, 12), st.none(), st.floats(allow_nan=False), st.text(max_size=3))
SAID = st.one_of(
    st.text(max_size=60),
    st.lists(NUMBERS, max_size=4).map(written),
    st.lists(
        st.lists(NUMBERS, max_size=3).map(lambda v: {str(n): x for n, x in enumerate(v)}),
        max_size=3,
    ).map(written),
    FREE.map(lambda value: dumped(value).decode("utf-8", errors="replace")),
    json_values.map(lambda value: dumped(value).decode("utf-8", errors="replace")),
    st.sampled_from(("[" * 100_000, "9" * 10_000, "{}", "```json\n{}\n```", "0", "-0", "1e999")),
)
KINDS = (
    ("json", 1),
    ("json", 2),
    ("chat_logprobs", 1),
    ("echo_logprobs", 1),
    ("token_by_token", 1),
)


@pytest.mark.parametrize(("kind", "at_once"), KINDS)
@given(data=st.data())
def test_any_simulation_is_read_whole_or_malformed(kind, at_once, data):
    simulator = simulator_of(SimulatorChoice(kind), at_once)
    records = [data.draw(hostile_tokens)[:3] for _ in range(at_once)]
    n = len(simulator.ask("x", records))
    replies = [
        ModelReply(data.draw(SAID), data.draw(st.one_of(st.none(), st.binary(max_size=80))))
        for _ in range(n)
    ]
    try:
        found = simulator.read("x", records, replies)
    except Malformed as error:
        assert len(str(error)) < 1000
        return
    assert len(found) == at_once
    for simulation, tokens in zip(found, records, strict=True):
        if not isinstance(simulation, Malformed):
            assert simulation.expected.shape == (len(tokens),)
            assert ((simulation.expected >= 0) & (simulation.expected <= 10)).all()


@given(st.one_of(st.text(), SAID))
def test_any_explanation_becomes_one_line_that_is_no_longer(text):
    found = clean_explanation(text)
    assert "\n" not in found
    assert len(found) <= len(text)
