"""The examples in every prompt that is sent: whole texts, in tokens as a tokenizer cuts them."""

import json
import re

import pytest

from neurogloss.neurons.few_shot import EXAMPLES, TOKENS_EXAMPLES
from neurogloss.neurons.prompts import explanation_messages
from neurogloss.neurons.records import ActivationRecord
from neurogloss.neurons.simulators.kinds import SimulatorChoice, simulator_of
from neurogloss.neurons.token_space import token_space_body

RECORDS = [record for example in EXAMPLES for record in example.records]
TEXTS = ["".join(token for token, _ in record) for record in RECORDS]
FIRST_TEXTS = TEXTS[::2]
WORDS = re.compile(r"\s*\S+(?:\s+\S+)+")  # more than one of them


def unescaped(token):
    return token.replace(r"\n", "\n").replace(r"\t", "\t")


def body(kind, n_records=1, **choice):
    simulator = simulator_of(SimulatorChoice(kind, **choice), n_records)
    return simulator.ask("x", [["y"]] * n_records)[0].body


def shown_as_lines(text):
    """Return the (token, activation) pairs of each record that a prompt shows, as written."""
    records = re.findall(r"^<start>\n(.*?)\n<end>$", text, re.MULTILINE | re.DOTALL)
    return [[line.rsplit("\t", 1) for line in record.split("\n")] for record in records]


def shown_as_positions(text):
    """Return the tokens of each text that a prompt shows by numbered lines."""
    texts = []
    for number, token in re.findall(r"^(\d+): ?(.*)$", text, re.MULTILINE):
        if number == "0":
            texts.append([])
        texts[-1].append((int(number), token))
    return texts


@pytest.mark.parametrize("record", RECORDS, ids=[text[:20] for text in TEXTS])
def test_an_example_is_cut_like_the_texts_that_are_asked_about(record):
    tokens = [token for token, _ in record]
    assert 60 <= len(tokens) <= 70
    assert all(tokens)
    assert not [token for token in tokens if WORDS.fullmatch(token)]
    assert any(token.startswith(" ") for token in tokens)
    assert 0 < sum(activation > 0 for _, activation in record) < 0.2 * len(record)
    assert all(0 <= activation <= 10 for _, activation in record)


def test_the_examples_have_what_real_texts_have():
    assert sum("\n" in record for record in (dict(record) for record in RECORDS)) >= 4
    assert ["def" in dict(record) for record in RECORDS].count(True) == 1
    assert {10, 0} < {activation for record in RECORDS for _, activation in record}


def test_the_explainer_is_shown_whole_texts_without_empty_tokens():
    messages = explanation_messages([ActivationRecord(("a", "b"), (1.0, 2.0))], 2.0)
    shown = [pairs for m in messages[1:-1:2] for pairs in shown_as_lines(m["content"])]
    assert all(token and activation.isdigit() for pairs in shown for token, activation in pairs)
    texts = ["".join(unescaped(token) for token, _ in pairs) for pairs in shown]
    assert [text for text in texts if text in TEXTS] == TEXTS
    assert len(texts) == 2 * len(TEXTS)  # each once more, without the zeros


def test_an_echo_shows_six_whole_texts_and_the_first_tokens_that_fire():
    *shown, _ = shown_as_lines(body("echo_logprobs")["prompt"])
    texts = ["".join(unescaped(token) for token, _ in pairs) for pairs in shown]
    assert texts == TEXTS
    for pairs, record in zip(shown, RECORDS, strict=True):
        assert all(token for token, _ in pairs)
        revealed = [activation for _, activation in pairs if activation not in ("0", "unknown")]
        assert revealed == [str(activation) for _, activation in record if activation]
    hidden = [[activation for _, activation in pairs].count("unknown") for pairs in shown]
    assert hidden == [10, 3, 5, 20, 0, 10]


@pytest.mark.parametrize(
    ("kind", "n_records", "expected"),
    [("json", 1, FIRST_TEXTS), ("json", 3, TEXTS), ("chat_logprobs", 1, FIRST_TEXTS)],
)
def test_json_examples_are_whole_texts_with_a_value_for_every_token(kind, n_records, expected):
    messages = body(kind, n_records)["messages"][1:-1]
    shown = [text for m in messages[::2] for text in shown_as_positions(m["content"])]
    assert ["".join(unescaped(token) for _, token in text) for text in shown] == expected
    answers = [json.loads(m["content"]) for m in messages[1::2]]
    if n_records > 1:
        answers = [values for answer in answers for values in answer.values()]
    assert [list(answer) for answer in answers] == [
        [str(position) for position, _ in text] for text in shown
    ]


def test_token_by_token_shows_the_beginning_of_a_text_and_its_last_activation():
    messages = body("token_by_token")["messages"][1:-1]
    answers = [m["content"] for m in messages[1::2]]
    for question, answer, text, record in zip(
        messages[::2], answers, FIRST_TEXTS, RECORDS[::2], strict=True
    ):
        (tokens,) = shown_as_positions(question["content"])
        assert text.startswith("".join(unescaped(token) for _, token in tokens))
        assert answer == str(record[len(tokens) - 1][1])
    assert "0" in answers and len(set(answers)) == 3


@pytest.mark.parametrize("kind", ["echo_logprobs", "chat_logprobs", "token_by_token"])
def test_on_a_scale_to_nine_nothing_says_ten(kind):
    nine, ten = body(kind, highest=9), body(kind)
    assert re.search(r"(\t|:|to )10\b", json.dumps(ten).replace(r"\t", "\t"))
    assert not re.search(r"(\t|:|to )10\b", json.dumps(nine).replace(r"\t", "\t"))
    if kind == "chat_logprobs":
        schema = json.dumps(nine["response_format"])
        assert "9]" in schema and "10]" not in schema


def test_the_tokens_of_token_space_are_no_words_of_the_explanation():
    body = token_space_body([" cat"])
    assert [m["content"].count(",") for m in body["messages"][1:-1:2]] == [19, 19, 19]
    for example in TOKENS_EXAMPLES:
        assert all(token.strip() for token in example.tokens)
        assert len(set(example.tokens)) == len(example.tokens)
