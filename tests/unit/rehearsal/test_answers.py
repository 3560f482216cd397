import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehearsal.activations import activation, activations
from rehearsal.answers import OPENING, answer, strongest_token
from rehearsal.chat_requests import read_chat_request
from rehearsal.faults import FaultRates, Faults
from rehearsal.handler import RequestHandler
from rehearsal.options import RehearsalOptions
from rehearsal.prefix_cache import PrefixCache
from rehearsal.rate_limits import ContinuousLimit
from rehearsal.replies import ApiError
from rehearsal.schemas import SchemaFiller

LEVELS = tuple(range(11))
RECORD = "Explain this neuron.\n the\t0\n sea\t3\n salt\t9.5\nwater\t9.5\n .\t0"
WORDS = [f" word{number}" for number in range(2000)]


def body(text, **parameters):
    messages = [{"role": "system", "content": "0:  sea"}, {"role": "user", "content": text}]
    return json.dumps({"model": "rehearsal", "messages": messages, **parameters}).encode()


def question(text, **parameters):
    return read_chat_request(body(text, **parameters), models=("rehearsal",))


def simulation_schema(length):
    positions = [str(position) for position in range(length)]
    schema = {
        "type": "object",
        "properties": {position: {"enum": list(LEVELS)} for position in positions},
        "required": positions,
        "additionalProperties": False,
    }
    return {
        "type": "json_schema",
        "json_schema": {"name": "simulation", "strict": True, "schema": schema},
    }


def simulate(tokens, preface="Explanation: words about the sea", seed=0):
    lines = [f"{position}: {token}" for position, token in enumerate(tokens)]
    asked = question("\n".join([preface, *lines]), response_format=simulation_schema(len(tokens)))
    values = json.loads(answer(asked, seed).content)
    assert list(values) == [str(position) for position in range(len(tokens))]
    return list(values.values())


def test_explanation_is_one_line_that_says_what_it_is_and_names_the_strongest_token():
    text = answer(question(RECORD), seed=0).content
    assert text.startswith(f"{OPENING} tokens like ' salt' in ")
    assert "\n" not in text


def test_explanation_of_a_question_without_records_names_no_token():
    assert "none was shown" in answer(question("Hello"), seed=0).content


def test_explanation_follows_from_seed_and_body_alone():
    first = answer(question(RECORD), seed=0)
    assert answer(question(RECORD), seed=0) == first
    assert len({answer(question(RECORD), seed).content for seed in range(20)}) > 10
    assert len({answer(question(RECORD, top_p=n), seed=0).content for n in range(20)}) > 10


@pytest.mark.parametrize(
    ("text", "token"),
    [
        pytest.param("a\t1\nb\t2\nc\t2", "b", id="first of equals"),
        pytest.param("a\t9\nb\t10", "b", id="compared as numbers"),
        pytest.param(" a \t1.5", " a ", id="spaces are part of a token"),
        pytest.param("\t\t3\nx\t1", "\t", id="tab is a token too"),
        pytest.param("a\tunknown", None, id="no number"),
        pytest.param("", None, id="no text"),
    ],
)
def test_the_strongest_token_is_the_first_of_the_highest_number(text, token):
    assert strongest_token(text) == token


def test_same_token_has_the_same_activation_in_every_simulation():
    first = simulate([" sea", " of", " the", " sea", *WORDS[:60]])
    second = simulate([*WORDS[:60], " of", " sea"], preface="Explanation: something else")
    assert first[0] == first[3] == second[61]
    assert first[4:] == second[:60]


def test_about_seven_activations_in_ten_are_zero_and_all_levels_occur():
    counts = Counter(simulate(WORDS))
    assert 0.65 < counts[0] / len(WORDS) < 0.75
    assert set(counts) == set(LEVELS)


def test_simulations_differ_between_seeds():
    assert simulate(WORDS[:64], seed=1) != simulate(WORDS[:64], seed=2)


@given(tokens=st.lists(st.sampled_from([" a", " b", " c"]), min_size=2), seed=st.integers(0, 1000))
def test_activations_are_never_all_the_same(tokens, seed):
    assert len(set(activations(seed, tokens, LEVELS))) > 1


def test_simulation_without_token_lines_is_drawn_from_the_positions():
    asked = question("no lines here", response_format=simulation_schema(64))
    values = json.loads(answer(asked, seed=0).content)
    assert len(values) == 64
    assert len(set(values.values())) > 1


def test_one_token_with_logprobs_is_answered_by_one_number():
    texts = [
        answer(question(f"token:{word}", max_tokens=1, logprobs=True, top_logprobs=11), 0).content
        for word in WORDS[:300]
    ]
    assert 0.6 < texts.count("0") / len(texts) < 0.8
    assert {int(text) for text in texts} <= set(LEVELS)


def test_one_token_is_simulated_as_in_the_text_that_it_ends():
    tokens = [" sea", " of", " ", ":", "1: x"]
    known = activations(0, tokens, LEVELS)
    for last, token in enumerate(tokens):
        lines = "\n".join(
            f"{position}: {shown}" for position, shown in enumerate(tokens[: last + 1])
        )
        asked = question(f"Tokens:\n{lines}", max_tokens=1, logprobs=True, top_logprobs=20)
        assert int(answer(asked, 0).content) == activation(0, token, LEVELS) == known[last]


def test_simulation_is_the_same_with_and_without_a_schema():
    text = "Tokens:\n" + "\n".join(
        f"{position}: {word}" for position, word in enumerate(WORDS[:64])
    )
    plain = answer(question(text), seed=0).content
    assert list(json.loads(plain).values()) == simulate(WORDS[:64])


def test_several_texts_are_simulated_as_each_alone():
    texts = [WORDS[:20], WORDS[20:50], WORDS[50:70]]
    lines = [
        f"Tokens of text {number}:\n" + "\n".join(f"{p}: {word}" for p, word in enumerate(words))
        for number, words in enumerate(texts)
    ]
    value = {"enum": list(LEVELS)}
    of = {n: object_schema({str(position): value for position in range(n)}) for n in (20, 30)}
    schema = object_schema(
        {str(n): {"$ref": f"#/$defs/tokens{len(words)}"} for n, words in enumerate(texts)}
    ) | {"$defs": {f"tokens{n}": inner for n, inner in of.items()}}
    form = {"type": "json_schema", "json_schema": {"name": "simulation", "schema": schema}}
    asked = question("\n".join(lines), response_format=form)
    found = json.loads(answer(asked, seed=0).content)
    assert [list(values.values()) for values in found.values()] == [simulate(t) for t in texts]


def test_json_object_holds_the_explanation():
    content = answer(question(RECORD, response_format={"type": "json_object"}), seed=0).content
    assert json.loads(content)["explanation"].startswith(OPENING)


def test_answer_over_the_limit_is_cut_and_says_so():
    cut = answer(question(RECORD, max_tokens=4), seed=0)
    assert (cut.content, cut.finish_reason) == ("rehearsal answer", "length")
    newer_name = answer(question(RECORD, max_tokens=100, max_completion_tokens=4), seed=0)
    assert newer_name.content == cut.content
    assert answer(question(RECORD, max_tokens=100), seed=0).finish_reason == "stop"


json_integers = st.integers(-(2**63), 2**63 - 1)  # what fits 64 bits, as in a parsed body
scalars = st.one_of(
    st.builds(lambda values: {"enum": values}, st.lists(json_integers, min_size=1, max_size=5)),
    st.builds(
        lambda low, size: {"type": "integer", "minimum": low, "maximum": low + size},
        st.integers(-50, 50),
        st.integers(0, 20),
    ),
    st.builds(
        lambda low, size: {"type": "number", "minimum": low, "maximum": low + size},
        st.floats(-50, 50),
        st.floats(0, 20),
    ),
    st.builds(lambda low: {"type": "integer", "minimum": low}, st.integers(-50, 50)),
    st.builds(lambda high: {"type": "number", "maximum": high}, st.integers(-50, 50)),
    st.sampled_from([{"type": "string"}, {"type": "boolean"}, {"type": ["null", "string"]}]),
    st.builds(lambda value: {"const": value}, st.text(max_size=5)),
)


def object_schema(properties):
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


schemas = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.builds(object_schema, st.dictionaries(st.text(max_size=3), inner, max_size=4)),
        st.builds(
            lambda items, low, size: {
                "type": "array",
                "items": items,
                "minItems": low,
                "maxItems": low + size,
            },
            inner,
            st.integers(0, 3),
            st.integers(0, 3),
        ),
    ),
    max_leaves=10,
)
PYTHON_TYPES = {"integer": int, "number": float, "string": str, "boolean": bool}


def is_valid(value, schema):
    if "const" in schema:
        return value == schema["const"]
    if "enum" in schema:
        return value in schema["enum"]
    match schema["type"]:
        case "object":
            return value.keys() == schema["properties"].keys() and all(
                is_valid(value[name], inner) for name, inner in schema["properties"].items()
            )
        case "array":
            fits = schema["minItems"] <= len(value) <= schema["maxItems"]
            return fits and all(is_valid(item, schema["items"]) for item in value)
        case ["null", "string"]:
            return value is None
        case kind:
            low, high = schema.get("minimum"), schema.get("maximum")
            in_range = (low is None or value >= low) and (high is None or value <= high)
            return type(value) is PYTHON_TYPES[kind] and in_range


@settings(max_examples=150)
@given(schema=schemas, seed=st.integers(0, 5))
def test_filled_schemas_are_valid_and_the_same_each_time(schema, seed):
    value = SchemaFiller(seed, b"question").fill(schema)
    assert is_valid(value, schema)
    assert SchemaFiller(seed, b"question").fill(schema) == value


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"type": "string", "pattern": "a+"}, id="keyword it cannot honour"),
        pytest.param({"type": "object", "required": ["a"]}, id="required without a schema"),
        pytest.param({"type": "integer", "minimum": 3, "maximum": 1}, id="empty range"),
        pytest.param({"type": "array"}, id="array of nothing known"),
        pytest.param({"type": "array", "items": {"enum": []}}, id="enum without values"),
        pytest.param({"type": "object", "properties": {"a": 3}}, id="not a schema"),
        pytest.param({"$ref": "#/$defs/none"}, id="reference to nothing"),
        pytest.param({"type": "vector"}, id="unknown type"),
        pytest.param({}, id="no type"),
    ],
)
def test_schema_that_cannot_be_filled_is_refused_with_its_place(schema):
    with pytest.raises(ApiError, match=r"^schema.*cannot fill") as caught:
        SchemaFiller(0, b"question").fill(schema)
    assert (caught.value.status, caught.value.code) == (400, "unsupported_schema")


def test_faults_strike_as_often_as_their_rates_say():
    faults = Faults(FaultRates(malformed=0.1, truncated=0.2, refusal=0.05, slow=0.3, drop=0.5), 7)
    digests = [str(number).encode() for number in range(4000)]
    content = Counter(faults.content(digest, 0) for digest in digests)
    assert content["malformed"] == pytest.approx(400, rel=0.2)
    assert content["truncated"] == pytest.approx(800, rel=0.2)
    assert content["refusal"] == pytest.approx(200, rel=0.25)
    assert content["empty"] == 0
    assert sum(faults.is_slow(d, 0) for d in digests) == pytest.approx(1200, rel=0.1)
    transport = Counter(faults.transport(digest, 0) for digest in digests)
    assert transport == {"drop": pytest.approx(2000, rel=0.1), None: pytest.approx(2000, rel=0.1)}


def test_every_question_passes_in_the_end():
    faults = Faults(FaultRates(server_error=0.5, malformed=0.5), seed=0)
    for number in range(200):
        digest = str(number).encode()
        assert any(faults.transport(digest, seen) is None for seen in range(40))
        assert any(faults.content(digest, replies) is None for replies in range(40))


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({"drop": 1.5}, "drop is 1.5"),
        ({"slow": -0.1}, "slow is -0.1"),
        ({"empty": float("nan")}, "empty is nan"),
        ({"malformed": 0.6, "refusal": 0.6}, "add up to 1.2"),
    ],
)
def test_impossible_fault_rates_are_refused_by_name(rates, message):
    with pytest.raises(ValueError, match=message):
        FaultRates(**rates)


@pytest.mark.parametrize(
    "option",
    [{"port": 70000}, {"requests_per_minute": 0}, {"latency_ms": -1}, {"credit_usd": -0.5}],
)
def test_impossible_options_are_refused_by_name(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        RehearsalOptions(**option)


def test_key_is_not_in_the_text_of_the_options():
    assert "sk-secret" not in repr(RehearsalOptions(api_key="sk-secret"))


@pytest.mark.parametrize("amount", [1, 7, 30])
def test_limit_lets_its_rate_through_and_one_second_more(amount):
    limit = ContinuousLimit(per_minute=600)
    passed = 0
    for tick in range(60_000):
        now = 1000 + tick / 1000
        if limit.wait(amount, now) == 0:
            limit.take(amount, now)
            passed += amount
    assert 0.99 * 600 <= passed <= 600 + max(10, amount)


def test_limit_passes_what_comes_after_the_wait_it_gave():
    limit = ContinuousLimit(per_minute=60)
    limit.take(1, now=50.0)
    wait = limit.wait(1, now=50.25)
    assert wait == pytest.approx(0.75)
    assert limit.wait(1, now=50.25 + wait + 1e-9) == 0


def test_prefix_is_cached_from_1024_tokens_in_steps_of_128():
    cache = PrefixCache()
    prefix = "".join(WORDS)[: 4 * 1300]
    assert cache.cached_tokens("m", prefix + "a" * 2000) == 0
    assert cache.cached_tokens("m", prefix + "b" * 2000) == 1280
    assert cache.cached_tokens("other", prefix) == 0
    assert cache.cached_tokens("m", prefix[:4000]) == 0


def test_waiting_for_a_limit_does_not_change_which_answers_are_spoilt():
    rates = FaultRates(malformed=0.3, truncated=0.2, refusal=0.2, empty=0.1)
    free = RequestHandler(RehearsalOptions(faults=rates))
    limited = RequestHandler(RehearsalOptions(faults=rates, requests_per_minute=60))
    bodies = [body(RECORD, top_p=number) for number in range(50)]
    expected = [free.reply(text, "", now=0).body for text in bodies]
    replies = [limited.reply(text, "", now=10 + tick / 3) for text in bodies for tick in range(3)]
    assert {reply.status for reply in replies} == {200, 429}
    answered = []
    now = 1000.0
    patient = RequestHandler(RehearsalOptions(faults=rates, requests_per_minute=60))
    for text in reversed(bodies):
        while (reply := patient.reply(text, "", now)).status == 429:
            now += 0.3
        answered.append(reply.body)
    assert answered[::-1] == expected
    faults = patient.stats()["faults"]
    assert set(faults) == {"malformed", "truncated", "refusal", "empty"}
