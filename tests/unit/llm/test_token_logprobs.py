import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurogloss.llm.token_logprobs import chat_places, first_place, prompt_places
from neurogloss.neurons.distributions import unpack_distributions
from neurogloss.neurons.simulators.echo_logprobs import echo_prompt
from tests.support.hostile_text import hostile_tokens

NUMBERS = {str(n): math.log(0.09) for n in range(11)}


def as_bytes(part):
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in part)


def pieces(draw, text):
    """Cut the UTF-8 of a text anywhere but in `unknown`, as a byte-pair encoding may."""
    raw, cuts = text.encode(), [0]
    while cuts[-1] < len(raw):
        step = draw(st.integers(1, 6))
        unknown = raw.find(b"unknown", cuts[-1])
        if unknown == cuts[-1]:
            step = 7
        elif cuts[-1] < unknown < cuts[-1] + step:
            step = unknown - cuts[-1]
        cuts.append(min(len(raw), cuts[-1] + step))
    return [raw[a:b] for a, b in pairwise(cuts)]


def shown(part, form):
    try:
        return part.decode()
    except UnicodeDecodeError:
        return as_bytes(part) if form == "openai" else part.decode(errors="replace")


def choice_of(parts, form, numbers=NUMBERS):
    """Return the choice of a completion that echoes these tokens."""
    texts = [shown(part, form) for part in parts]
    if form == "vllm":
        places = [
            {
                "1": {"logprob": -9.0, "rank": 99, "decoded_token": text},
                **{str(i + 2): {"logprob": p, "decoded_token": t} for i, (t, p) in listed},
            }
            for text in texts
            for listed in [list(enumerate(numbers.items()))]
        ]
        return {"prompt_logprobs": [None, *places[1:]]}
    tops = [None, *({text: -9.0, **numbers} for text in texts[1:])]
    return {"logprobs": {"tokens": texts, "top_logprobs": tops, "text_offset": [0] * len(tops)}}


def offsets_in(packed):
    return unpack_distributions(packed)["offset"].tolist()


@pytest.mark.parametrize("form", ["openai", "vllm", "replaced"])
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_every_unknown_of_a_prompt_is_found_however_it_is_cut(form, data):
    prompt, offsets = echo_prompt("x", data.draw(hostile_tokens))
    parts = pieces(data.draw, prompt[offsets[0] - 40 :])
    found = offsets_in(prompt_places(choice_of(parts, form), {}, prompt[offsets[0] - 40 :]))
    assert set(o - offsets[0] + 40 for o in offsets) <= set(found)


def test_an_echo_that_ends_early_has_fewer_places():
    prompt, offsets = echo_prompt("x", ["a", "b", "c"])
    parts = [prompt[: offsets[1]].encode(), b"unknown"]
    assert offsets[1] in offsets_in(prompt_places(choice_of(parts, "openai"), {}, prompt))
    assert offsets[2] not in offsets_in(prompt_places(choice_of(parts, "openai"), {}, prompt))


def test_tokens_that_leave_the_prompt_are_not_read_any_further():
    prompt, offsets = echo_prompt("x", ["a", "b"])
    parts = [prompt[: offsets[0]].encode(), b"unknown", b"something else", b"unknown"]
    assert offsets_in(prompt_places(choice_of(parts, "openai"), {}, prompt))[-1:] != [offsets[1]]


def test_a_mark_before_the_prompt_is_passed_over():
    prompt, offsets = echo_prompt("x", ["a"])
    parts = [b"<s>", prompt[: offsets[0]].encode(), b"unknown", b"\n<end>"]
    for form in ("openai", "vllm"):
        assert offsets[0] in offsets_in(prompt_places(choice_of(parts, form), {}, prompt))


def test_a_tab_that_sticks_to_unknown_leaves_the_place_where_it_was():
    prompt, offsets = echo_prompt("x", ["a"])
    parts = [prompt[: offsets[0] - 1].encode(), b"\tunknown", b"\n<end>"]
    numbers = {f"\t{n}": lp for n, lp in NUMBERS.items()}
    found = offsets_in(prompt_places(choice_of(parts, "openai", numbers), {}, prompt))
    assert offsets[0] in found


def test_a_number_counts_with_and_without_a_space_and_only_once_each():
    prompt, offsets = echo_prompt("x", ["a"])
    parts = [prompt[: offsets[0]].encode(), b"unknown"]
    numbers = {"3": math.log(0.25), " 3": math.log(0.5), "11": -0.1, "three": -0.1, "٣": -0.1}
    packed = prompt_places(choice_of(parts, "openai", numbers), {}, prompt)
    (place,) = unpack_distributions(packed)
    assert place["probabilities"].tolist() == [0, 0, 0, 1, *[0] * 7]
    assert place["covered"] == 0.75


@pytest.mark.parametrize("logprob", [None, float("nan"), float("-inf"), -9999.0])
def test_a_number_that_has_no_probability_is_not_counted(logprob):
    prompt, offsets = echo_prompt("x", ["a"])
    parts = [prompt[: offsets[0]].encode(), b"unknown"]
    packed = prompt_places(choice_of(parts, "openai", {"3": logprob}), {}, prompt)
    (place,) = unpack_distributions(packed)
    assert place["covered"] == 0 and place["probabilities"].tolist() == [0] * 11


def test_the_least_probability_of_numbers_is_shared_out_among_them():
    prompt, offsets = echo_prompt("x", ["a"])
    parts = [prompt[: offsets[0]].encode(), b"unknown"]
    numbers = {"3": math.log(3e-9), "4": math.log(1e-9), "unknown": -1e-8}
    packed = prompt_places(choice_of(parts, "openai", numbers), {}, prompt)
    (place,) = unpack_distributions(packed)
    assert place["covered"] == pytest.approx(4e-9)
    assert place["probabilities"][3:5].tolist() == [0.75, 0.25]


@pytest.mark.parametrize("form", ["openai", "vllm"])
def test_a_place_without_alternatives_is_no_place(form):
    prompt, offsets = echo_prompt("x", ["a"])
    choice = choice_of([prompt[: offsets[0]].encode(), b"unknown"], form)
    if form == "vllm":
        choice["prompt_logprobs"][-1] = None
    else:
        choice["logprobs"]["top_logprobs"][-1] = {}
    assert prompt_places(choice, {}, prompt) == b""


def test_the_numbers_beside_a_first_token_that_is_none_are_found():
    (place,) = unpack_distributions(
        first_place([entry("The", **{"3": math.log(0.25)}), entry("7")])
    )
    assert place["offset"] == 0 and place["probabilities"][3] == 1
    assert place["covered"] == 0.25
    assert first_place([]) == first_place([{"token": "7", "top_logprobs": None}]) == b""


def test_no_log_probabilities_are_none_and_not_nothing():
    assert prompt_places({"logprobs": None}, {}, "x") is None


def entry(token, **top):
    listed = [{"token": t, "logprob": lp} for t, lp in top.items()]
    return {"token": token, "bytes": list(token.encode()), "top_logprobs": listed}


def test_the_numbers_that_a_chat_wrote_are_found_in_its_text():
    text = ' {"0":3,"1":10}'
    tokens = [" {", '"', "0", '":', "3", ',"', "1", '":', "10", "}", "<|im_end|>"]
    content = [entry(token, **{"3": -0.5}) for token in tokens]
    assert offsets_in(chat_places(content, text)) == [3, 6, 9, 12]
    assert offsets_in(chat_places(content, text.strip())) == [2, 5, 8, 11]


def test_what_was_thought_before_the_answer_is_no_part_of_it():
    answer = [entry("{"), entry('"0":'), entry("3", **{"3": -0.1}), entry("}")]
    thought = [entry("maybe"), *answer, entry("?")]
    assert offsets_in(chat_places([*thought, *answer], '{"0":3}')) == [5]


@settings(max_examples=200)
@given(hostile_tokens, st.integers(0, 10))
def test_a_number_behind_any_tokens_is_found(tokens, number):
    text = "".join(tokens) + f"\t{number}"
    content = [entry(token, **NUMBERS) for token in [*tokens, "\t", str(number)]]
    assert offsets_in(chat_places(content, text))[-1:] == [len("".join(tokens)) + 1]
