import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from neurogloss.errors import Malformed
from neurogloss.neurons.illustration import (
    FIRES,
    MAX_CHARACTERS,
    SILENT,
    illustration_body,
    read_illustration,
)
from tests.support.hostile_text import HOSTILE, json_values

N = 8  # sentences


def written(**changes):
    """Return an answer of N good sentences, as an object; `changes` are by kind and number."""
    answer = {
        kind: {str(n): f"{kind} sentence {n}" for n in range(N // 2)} for kind in (FIRES, SILENT)
    }
    for kind, sentences in changes.items():
        answer[kind] |= sentences
    return answer


def test_all_but_the_last_message_and_the_schema_are_the_same_for_every_neuron():
    one, other = (illustration_body(text, N, 64) for text in ("rivers", "line\nbreaks"))
    assert json.dumps(one | {"messages": one["messages"][:-1]}) == json.dumps(
        other | {"messages": other["messages"][:-1]}
    )
    assert one["messages"][-1]["content"].endswith("look for: rivers")
    assert other["messages"][-1]["content"].endswith(r"look for: line\nbreaks")


@pytest.mark.parametrize(("n_tokens", "words"), [(64, 25), (16, 8), (2, 4)])
def test_sentences_are_to_be_no_longer_than_the_subject_reads(n_tokens, words):
    system = illustration_body("rivers", N, n_tokens)["messages"][0]["content"]
    assert f"at most {words} words" in system
    assert f"{N // 2} on which the neuron should fire" in system


def test_the_schema_asks_for_half_of_each_kind_by_number():
    described = illustration_body("rivers", N, 64)["response_format"]["json_schema"]
    assert described["strict"] is True
    assert described["schema"]["required"] == [FIRES, SILENT]
    for kind in (FIRES, SILENT):
        numbered = described["schema"]["properties"][kind]
        assert list(numbered["properties"]) == numbered["required"] == ["0", "1", "2", "3"]
        assert numbered["additionalProperties"] is False


def test_every_second_sentence_of_each_kind_is_for_judging():
    found = read_illustration(json.dumps(written()), N)
    assert [sentence.text for sentence in found] == [
        *(f"{kind} sentence {n}" for kind in (FIRES, SILENT) for n in range(4))
    ]
    assert [sentence.is_expected for sentence in found] == [True] * 4 + [False] * 4
    assert [sentence.for_judging for sentence in found] == [False, True] * 4


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: f"```json\n{text}\n```", id="fenced"),
        pytest.param(
            lambda text: json.dumps({k: list(v.values()) for k, v in json.loads(text).items()}),
            id="lists",
        ),
        pytest.param(
            lambda text: json.dumps(
                {k: dict(reversed(v.items())) for k, v in json.loads(text).items()}
            ),
            id="in another order",
        ),
        pytest.param(lambda text: text.replace('"fires s', '" \\n fires s'), id="white space"),
    ],
)
def test_other_ways_to_say_the_same_are_read(change):
    text = json.dumps(written())
    assert change(text) != text
    assert read_illustration(change(text), N) == read_illustration(text, N)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param("I would rather not", "the answer is no JSON", id="prose"),
        pytest.param([], "no object of fires and silent", id="list"),
        pytest.param({FIRES: {}}, "no object of fires and silent", id="a kind is missing"),
        pytest.param(written() | {"more": {}}, "no object of fires", id="a kind too many"),
        pytest.param(written(fires={"4": "x"}), "fires has not the numbers 0 to 3", id="too many"),
        pytest.param(
            written() | {SILENT: {"0": "a", "1": "b", "2": "c"}},
            "silent has not the numbers",
            id="too few",
        ),
        pytest.param(written() | {SILENT: ["a"]}, "silent does not hold 4", id="short list"),
        pytest.param(written() | {SILENT: "abcd"}, "silent does not hold 4", id="no list"),
        pytest.param(written(fires={"2": 7}), "is 7, which is no text", id="number"),
        pytest.param(written(fires={"2": None}), "which is no text", id="null"),
        pytest.param(written(fires={"2": " \n "}), "a sentence is empty", id="empty"),
        pytest.param(
            written(silent={"0": "x" * (MAX_CHARACTERS + 1)}), "has 401 characters", id="too long"
        ),
        pytest.param(written(silent={"0": "a\0b"}), "NUL", id="NUL"),
        pytest.param(written(silent={"0": "a\ud800"}), "half a character", id="surrogate"),
        pytest.param(
            written(silent={"0": "fires sentence 3"}), "a sentence occurs twice", id="twice"
        ),
        pytest.param('{"fires": {"0": "a", "0": "b"}}', "names a key twice", id="doubled key"),
        pytest.param('{"fires": NaN, "silent": 1}', "is no JSON", id="NaN"),
    ],
)
def test_what_are_not_the_sentences_is_an_error_that_says_why(answer, reason):
    text = answer if isinstance(answer, str) else json.dumps(answer)
    with pytest.raises(Malformed, match=reason):
        read_illustration(text, N)


sentences = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=30), json_values)
answers = st.one_of(
    json_values,
    st.fixed_dictionaries(
        {
            kind: st.one_of(
                json_values,
                st.lists(sentences, min_size=1, max_size=5),
                st.fixed_dictionaries({str(n): sentences for n in range(N // 2)}),
            )
            for kind in (FIRES, SILENT)
        }
    ),
)


@given(answers)
@example(written())
def test_any_answer_is_read_whole_or_malformed(answer):
    _is_whole_or_malformed(json.dumps(answer))


@given(st.text(max_size=200))
@example("[" * 100_000)
@example("")
def test_any_text_is_read_whole_or_malformed(text):
    _is_whole_or_malformed(text)


@given(st.integers(0, 400), st.binary(max_size=8))
def test_a_good_answer_that_is_cut_or_overwritten_is_read_whole_or_malformed(place, bytes_):
    text = json.dumps(written()).encode()
    _is_whole_or_malformed(text[:place].decode())
    spoilt = text[:place] + bytes_ + text[place + len(bytes_) :]
    _is_whole_or_malformed(spoilt.decode(errors="replace"))


def _is_whole_or_malformed(text):
    try:
        found = read_illustration(text, N)
    except Malformed as error:
        assert error.reason
        return
    assert len({sentence.text for sentence in found}) == N
    for sentence in found:
        assert 0 < len(sentence.text.strip()) <= MAX_CHARACTERS
        assert "\0" not in sentence.text
        sentence.text.encode()
    assert sum(sentence.is_expected and sentence.for_judging for sentence in found) == N // 4
    assert sum(sentence.for_judging for sentence in found) == N // 2
