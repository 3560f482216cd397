import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurogloss.errors import Malformed
from neurogloss.llm.responses import read_completion
from neurogloss.neurons.distributions import UNKNOWN, pack_distributions
from neurogloss.neurons.json_answers import parse_simulation, value_offsets
from neurogloss.neurons.simulation import Simulation, distribution_at, simulation_of
from neurogloss.neurons.simulators.base import ModelReply
from neurogloss.neurons.simulators.echo_logprobs import echo_prompt
from neurogloss.neurons.simulators.json_simulator import json_messages, response_format
from neurogloss.neurons.simulators.kinds import SimulatorChoice, simulator_of
from tests.support.hostile_text import HOSTILE, hostile_tokens

KINDS = ("json", "chat_logprobs", "echo_logprobs", "token_by_token")
SURE = {number: 1.0 if number == 7 else 0.0 for number in range(11)}


def written(values):
    return json.dumps({str(number): value for number, value in enumerate(values)})


def one(kind, **choice):
    return simulator_of(SimulatorChoice(kind, **choice))


@pytest.mark.parametrize("kind", KINDS)
def test_what_two_neurons_are_asked_begins_alike_and_the_explanation_comes_before_the_tokens(kind):
    def prompt(explanation, tokens):
        body = one(kind).ask(explanation, [tokens])[0].body
        return body.get("prompt") or "\n".join(m["content"] for m in body["messages"])

    first, second = prompt("rivers", ["x"]), prompt("heat", ["y", "z"])
    start = first.rindex("looks for: rivers")
    assert first[:start] == second[:start]
    assert prompt("rivers", ["y"])[: start + 17] == first[: start + 17]


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_says_what_it_is_and_its_questions_are_json(kind):
    simulator = one(kind)
    assert simulator.kind == kind
    for question in simulator.ask("x", [list(HOSTILE)]):
        assert question.path in ("/chat/completions", "/completions")
        assert json.loads(json.dumps(question.body)) == question.body


def test_a_kind_that_makes_no_calls_is_no_simulator_here():
    with pytest.raises(ValueError, match="'lookup' makes no calls"):
        simulator_of(SimulatorChoice("lookup"))


def test_a_choice_is_read_as_it_was_stored():
    choice = SimulatorChoice("echo_logprobs", 15, True, "it works")
    assert SimulatorChoice.from_json(json.loads(json.dumps(choice.to_json()))) == choice


@pytest.mark.parametrize("token", HOSTILE)
def test_a_hostile_token_keeps_its_number(token):
    shown = json_messages("x", [["a", token, "b"]])[-1]["content"].split("Tokens:\n")[1]
    assert [line.split(": ")[0].rstrip(":") for line in shown.split("\n")] == ["0", "1", "2"]


def test_the_schema_has_one_integer_from_0_to_10_for_every_position():
    schema = response_format((64,))["json_schema"]["schema"]
    assert schema["required"] == [str(n) for n in range(64)] == list(schema["properties"])
    assert {tuple(v["enum"]) for v in schema["properties"].values()} == {tuple(range(11))}
    assert schema["additionalProperties"] is False


def test_the_schema_of_several_records_keeps_to_a_thousand_enum_values():
    schema = response_format((64, 64, 32))
    assert json.dumps(schema).count("enum") == 64 + 32
    assert json.dumps(response_format((64,) * 10)).count("enum") == 64
    assert json.dumps(schema) == json.dumps(response_format((64, 64, 32)))


@pytest.mark.parametrize("n_records", [1, 3])
def test_the_examples_answer_as_the_schema_asks(n_records):
    for message in json_messages("x", [["y"]] * n_records)[2:-1:2]:
        found = json.loads(message["content"])
        for values in found.values() if n_records > 1 else [found]:
            assert parse_simulation(json.dumps(values), len(values)).max() > 0


@settings(max_examples=50)
@given(st.lists(st.integers(0, 10), min_size=1, max_size=70))
def test_a_simulation_is_read_as_it_was_written(values):
    text = written(values)
    assert parse_simulation(text, len(values)).tolist() == values
    assert parse_simulation(f"```json\n{text}\n```", len(values)).tolist() == values
    assert parse_simulation(json.dumps(values), len(values)).tolist() == values
    offsets = value_offsets(text, len(values))
    assert [text[o:].startswith(str(v)) for o, v in zip(offsets, values, strict=True)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"0": 1, "1": 2', "no JSON"),
        ("", "no JSON"),
        ("I cannot do that", "no JSON"),
        ('{"0": 1}', "lacks 1 positions, first 1"),
        ('{"0": 1, "1": 2, "2": 3}', "not asked"),
        ('{"0": 1, "0": 2, "1": 3}', "twice"),
        ('{"0": 1, "1": 11}', "not between 0 and 10"),
        ('{"0": 1, "1": -1}', "not between 0 and 10"),
        ('{"0": 1, "1": null}', "no number"),
        ('{"0": 1, "1": true}', "no number"),
        ('{"0": 1, "1": NaN}', "no JSON"),
        ('{"0": 1, "1": "many"}', "position 1 is 'many'"),
        ("[1, 2, 3]", "3 values for 2 tokens"),
        ('"text"', "no object"),
        ("[" * 100_000, "no JSON"),
        ("9" * 10_000, "no JSON"),
    ],
)
def test_what_cannot_be_read_is_an_error_and_never_a_zero(text, reason):
    with pytest.raises(Malformed, match=reason):
        parse_simulation(text, 2)


def test_several_records_are_read_each_for_itself():
    simulator = simulator_of(SimulatorChoice("json"), 3)
    text = '{"0": {"0": 1, "1": 2}, "1": {"0": 3}, "2": {"0": 4, "1": 99}}'
    found = simulator.read("x", [["a", "b"], ["c"], ["d", "e"]], [ModelReply(text)])
    assert isinstance(found[0], Simulation)
    assert found[0].expected.tolist() == [1, 2]
    assert found[1].expected.tolist() == [3]
    assert isinstance(found[2], Malformed)
    assert "99" in found[2].reason


def test_several_records_of_which_one_is_missing_are_not_read_at_all():
    simulator = simulator_of(SimulatorChoice("json"), 2)
    with pytest.raises(Malformed, match="lacks 1 texts, first 1"):
        simulator.read("x", [["a"], ["b"]], [ModelReply('{"0": {"0": 1}}')])


def test_the_expected_activation_is_over_the_numbers_alone():
    places = [(0, {2: 0.25, 4: 0.25}), (9, {10: 1e-9}), (12, {})]
    found = simulation_of(distribution_at(pack_distributions(places), [0, 9, 12]))
    assert found.expected.tolist() == [3.0, 10.0, 0.0]
    assert found.distribution.sum(axis=1).tolist() == [1, 1, 0]
    assert found.covered == pytest.approx((0.5 + 1e-9) / 3)


def test_what_was_stored_before_is_read_as_what_is_stored_now():
    earlier = np.zeros(2, [("offset", "<i4"), ("probabilities", "<f2", (11,))])
    earlier["offset"] = 5, 9
    earlier["probabilities"][0, [2, 4]] = 0.125, 0.375
    places = distribution_at(earlier.tobytes(), [9, 5])
    assert places["covered"].tolist() == [0, 0.5]
    assert places["probabilities"][1].tolist() == [0, 0, 0.25, 0, 0.75, *[0] * 6]


def test_a_place_that_is_missing_or_damaged_is_an_error_and_no_zero():
    packed = pack_distributions([(5, SURE)])
    assert distribution_at(packed, [5])["probabilities"].shape == (1, 11)
    for damaged, reason in (
        (packed, "position 1: the answer has no log probabilities there"),
        (None, "no log probabilities"),
        (b"123", "damaged"),
        (pack_distributions([(5, SURE), (6, {1: float("nan")})]), "no probabilities"),
        (pack_distributions([(5, SURE), (6, {3: -0.5})]), "no probabilities"),
    ):
        with pytest.raises(Malformed, match=reason):
            distribution_at(damaged, [5, 6])


@given(hostile_tokens, st.text(max_size=20))
def test_the_prompt_tells_where_each_unknown_stands(tokens, explanation):
    prompt, offsets = echo_prompt(explanation, tokens)
    assert len(offsets) == len(tokens)
    assert all(prompt[o - 1 :].startswith(f"\t{UNKNOWN}\n") for o in offsets)
    assert prompt[: offsets[0]].count("<start>\n") == 7
    assert offsets == sorted(set(offsets))


@given(hostile_tokens)
def test_echoed_numbers_are_read_by_offset_whatever_the_tokens_say(tokens):
    _, offsets = echo_prompt("x", tokens)
    places = [(o, {n % 11: 0.5}) for n, o in enumerate(offsets)]
    decoys = [(o + 3, {10: 1.0}) for o in offsets]
    reply = ModelReply("", pack_distributions([*decoys, *places]))
    (found,) = one("echo_logprobs").read("x", [tokens], [reply])
    assert found.expected.tolist() == [n % 11 for n in range(len(tokens))]


@given(st.lists(st.integers(0, 10), min_size=1, max_size=20))
def test_written_numbers_are_read_by_key_whatever_order_they_come_in(values):
    order = list(range(len(values)))[::-1]
    text = json.dumps({str(n): values[n] for n in order})
    offsets = value_offsets(text, len(values))
    places = [(offsets[n], {values[n]: 0.9, 0: 0.1}) for n in order]
    (found,) = one("chat_logprobs").read(
        "x", [["t"] * len(values)], [ModelReply(text, pack_distributions(places))]
    )
    expected = [0.9 * v if v else 0.0 for v in values]
    assert found.expected.tolist() == pytest.approx(expected, rel=2e-3, abs=1e-3)


def test_ten_in_two_tokens_is_told_from_one():
    text = '{"0": 10, "1": 1}'
    places = [(6, {1: 0.8, 2: 0.2}), (7, {0: 0.75}), (15, {1: 1.0})]
    (found,) = one("chat_logprobs").read(
        "x", [["a", "b"]], [ModelReply(text, pack_distributions(places))]
    )
    assert found.distribution[0].tolist() == pytest.approx(
        [0, 0.2, 0.2, *[0] * 7, 0.6], rel=2e-3, abs=1e-3
    )
    assert found.expected[1] == 1.0


def test_each_token_has_a_question_that_ends_with_it():
    questions = one("token_by_token").ask("x", [["a", "b", "\n"]])
    last = [question.body["messages"][-1]["content"] for question in questions]
    assert [text.rsplit("\n", 1)[1] for text in last] == ["0: a", "1: b", r"2: \n"]
    assert last[1].startswith(last[0])


def test_each_answer_of_one_token_is_one_activation():
    replies = [
        ModelReply("7", pack_distributions([(0, SURE)])),
        ModelReply(" 7", pack_distributions([(1, SURE)])),
    ]
    (found,) = one("token_by_token").read("x", [["a", "b"]], replies)
    assert found.expected.tolist() == [7.0, 7.0]
    with pytest.raises(Malformed, match="position 1: no log probabilities of 'The'"):
        one("token_by_token").read("x", [["a", "b"]], [replies[0], ModelReply("The", b"")])


def test_numbers_beside_an_answer_that_is_none_are_read():
    likely = [{"token": "The", "logprob": -0.1}, {"token": "4", "logprob": -3.0}]
    content = [{"token": "The", "logprob": -0.1, "top_logprobs": likely}]
    choice = {"message": {"content": "The"}, "finish_reason": "length"}
    choice["logprobs"] = {"content": content}
    body = json.dumps({"choices": [choice]}).encode()
    answer = read_completion(body, {"max_tokens": 1, "messages": []})
    (found,) = one("token_by_token").read(
        "x", [["a"]], [ModelReply(answer.text, answer.distributions)]
    )
    assert found.expected.tolist() == [4.0]
    assert found.covered == pytest.approx(np.exp(-3), rel=1e-3)


packed = st.one_of(
    st.none(),
    st.binary(max_size=80),
    st.lists(
        st.tuples(
            st.integers(-3, 60),
            st.dictionaries(st.integers(0, 10), st.floats(width=16), max_size=4),
        ),
        max_size=6,
    ).map(pack_distributions),
)
answers = st.one_of(
    st.text(max_size=60),
    st.lists(st.one_of(st.integers(-2, 12), st.none(), st.floats()), max_size=3).map(written),
    st.lists(st.integers(0, 10), min_size=2, max_size=2).map(written),
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=250, deadline=None)
@given(st.data())
def test_any_answer_is_read_whole_or_refused(kind, data):
    simulator, tokens = one(kind), ["a", "<start>"]
    n = len(simulator.ask("x", [tokens]))
    replies = [ModelReply(data.draw(answers), data.draw(packed)) for _ in range(n)]
    try:
        (found,) = simulator.read("x", [tokens], replies)
    except Malformed:
        return
    assert found.expected.shape == (2,)
    assert ((found.expected >= 0) & (found.expected <= 10)).all()
