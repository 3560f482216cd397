import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearsal.activations import activations
from rehearsal.capabilities import FEATURES, Capabilities
from rehearsal.completions import read_completion
from rehearsal.options import RehearsalOptions
from rehearsal.replies import ApiError, Usage
from rehearsal.tokenizer import tokenize

LEVELS = tuple(range(11))
HOSTILE = [" sea", "unknown", "<start>", "<end>", "10", " internationalization", "…", "🙂",
           "\u00a0", "\\n", "\r", ".", "<|endoftext|>", "", " ", "'s", "\ufffd"]  # fmt: skip
USAGE = Usage(prompt_tokens=1, cached_tokens=0, completion_tokens=0)
texts = st.text(alphabet=st.sampled_from("ab \n\t.<>0_é…🙂") | st.characters(codec="utf-8"))


def record(tokens):
    lines = "\n".join(f"{token}\tunknown" for token in tokens)
    return f"Neuron 4\n<start>\n{lines}\n<end>\n"


def complete(prompt, fault=None, seed=0, **parameters):
    body = json.dumps({"model": "rehearsal", "prompt": prompt, **parameters}).encode()
    spoken = read_completion(body, RehearsalOptions(seed=seed)).render(fault)
    return json.loads(spoken.to_json(USAGE))["choices"][0], spoken


def echo(prompt, logprobs=15, **parameters):
    return complete(prompt, max_tokens=0, echo=True, logprobs=logprobs, **parameters)[0]


def numbers(choice):
    """Return the likeliest number wherever `unknown` follows a tab, as a client would."""
    text, logprobs = choice["text"], choice["logprobs"]
    found = []
    for offset, token, top in zip(
        logprobs["text_offset"], logprobs["tokens"], logprobs["top_logprobs"], strict=True
    ):
        end = offset + len("unknown")
        if token == "unknown" and text[offset - 1] == "\t" and text[end : end + 1] == "\n":
            found.append(int(max(top, key=top.get)))
    return found


@given(text=texts, seed=st.integers(0, 3))
def test_pieces_make_up_the_text_again(text, seed):
    pieces = tokenize(text, seed)
    assert "".join(piece.content for piece in pieces) == text
    assert tokenize(text, seed) == pieces
    assert all(piece.shown == piece.content or piece.shown.startswith("bytes:") for piece in pieces)


def test_pieces_do_the_hostile_things_that_those_of_real_tokenizers_do():
    shown = [
        piece.shown
        for seed in range(5)
        for number in range(60)
        for piece in tokenize(
            record([f" word{number}", f"v{number}.", " internationalization", "…"]), seed
        )
    ]
    assert any(piece.startswith("\n") and len(piece) > 1 for piece in shown)
    assert any(piece.endswith("\t") and len(piece) > 1 for piece in shown)
    assert any(piece.startswith("bytes:\\x") for piece in shown)
    assert " internationalization" not in shown
    assert shown.count("unknown") == 5 * 60 * 4


def test_echo_has_the_prompt_and_its_tokens_by_offset():
    prompt = record([" sea", " the"])
    choice = echo(prompt)
    logprobs = choice["logprobs"]
    assert (choice["text"], choice["finish_reason"]) == (prompt, "length")
    assert logprobs["token_logprobs"][0] is logprobs["top_logprobs"][0] is None
    assert all(value < 0 for value in logprobs["token_logprobs"][1:])
    for token, offset in zip(logprobs["tokens"], logprobs["text_offset"], strict=True):
        assert prompt.startswith(token, offset) or token.startswith("bytes:")
    for top, value, token in zip(
        logprobs["top_logprobs"][1:],
        logprobs["token_logprobs"][1:],
        logprobs["tokens"][1:],
        strict=True,
    ):
        assert 15 <= len(top) <= 16
        assert top[token] == value
        assert sum(map(math.exp, top.values())) <= 1 + 1e-6


def test_numbers_of_an_echo_are_the_activations_that_a_json_simulation_has():
    assert numbers(echo(record(HOSTILE))) == activations(0, HOSTILE, LEVELS)


@given(
    tokens=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\t")), min_size=1)
)
def test_there_is_a_number_for_every_token_whatever_it_is(tokens):
    assert numbers(echo(record(tokens))) == activations(0, tokens, LEVELS)


def test_records_of_examples_are_simulated_each_by_itself():
    both = record([" sea", " of"]) + record([" and"])
    expected = activations(0, [" sea", " of"], LEVELS) + activations(0, [" and"], LEVELS)
    assert numbers(echo(both)) == expected


def test_number_distribution_lacks_some_mass_and_fewer_alternatives_lack_more():
    wide, narrow = (echo(record([" sea"]), logprobs=k)["logprobs"] for k in (20, 5))
    place = wide["tokens"].index("unknown")
    mass = [
        sum(math.exp(value) for token, value in top[place].items() if token in map(str, LEVELS))
        for top in (wide["top_logprobs"], narrow["top_logprobs"])
    ]
    assert 0.9 <= mass[0] <= 1.0001
    assert mass[1] < mass[0]
    assert (
        narrow["top_logprobs"][place]["unknown"] < -10
    )  # beyond the five, because it stands there


def test_prompt_logprobs_say_the_same_in_the_form_of_vllm():
    prompt = record(HOSTILE)
    choice, _ = complete(prompt, max_tokens=1, prompt_logprobs=12)
    legacy = echo(prompt, logprobs=12)["logprobs"]
    assert choice["prompt_logprobs"][0] is None
    assert len(choice["prompt_logprobs"]) == len(legacy["tokens"])
    for entries, top in zip(choice["prompt_logprobs"][1:], legacy["top_logprobs"][1:], strict=True):
        assert sorted(entry["logprob"] for entry in entries.values()) == sorted(top.values())
        assert {entry["decoded_token"] for entry in entries.values()} == {
            "\ufffd" if token.startswith("bytes:") else token for token in top
        }
        assert min(entry["rank"] for entry in entries.values()) == 1


def test_one_token_after_a_tab_is_the_activation_of_the_token_before_it():
    for word in ("sea", "of", "salt", "and", "wave"):
        choice, _ = complete(f"Neuron 4\n x\t3\n {word}\t", max_tokens=1, logprobs=15)
        top = choice["logprobs"]["top_logprobs"][0]
        assert choice["text"] == max(top, key=top.get)
        assert int(choice["text"]) in LEVELS


def test_completion_without_numbers_is_text_and_is_cut_at_its_limit():
    whole, spoken = complete("Hello", max_tokens=200)
    assert whole["text"].startswith("rehearsal answer, not a language model:")
    assert (whole["finish_reason"], whole["logprobs"]) == ("stop", None)
    short, spoken = complete("Hello", max_tokens=3)
    assert whole["text"].startswith(short["text"])
    assert (short["finish_reason"], spoken.completion_tokens) == ("length", 3)


@pytest.mark.parametrize(("fault", "difference"), [("position_missing", -1), ("position_added", 1)])
def test_an_echo_may_have_a_position_too_few_or_too_many(fault, difference):
    choice, spoken = complete(record(HOSTILE), fault, max_tokens=0, echo=True, logprobs=15)
    good = echo(record(HOSTILE))["logprobs"]["tokens"]
    assert spoken.fault == fault
    assert choice["logprobs"]["tokens"].count("unknown") == good.count("unknown") + difference


@pytest.mark.parametrize("fault", ["truncated", "refusal", "empty", "malformed"])
def test_a_fault_spoils_an_echo_in_its_own_way(fault):
    choice, spoken = complete(record(HOSTILE), fault, max_tokens=0, echo=True, logprobs=15)
    assert spoken.fault == fault
    assert choice["text"] != record(HOSTILE)
    if fault == "malformed":
        assert choice["logprobs"] is None
    else:
        assert len(choice["logprobs"]["tokens"]) == len(choice["logprobs"]["text_offset"])


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"logprobs": 21}, "logprobs"),
        ({"n": 2}, "n"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
    ],
)
def test_impossible_completion_is_refused_by_name(parameters, param):
    with pytest.raises(ApiError) as caught:
        complete(**{"prompt": "Hello", **parameters})
    assert (caught.value.status, caught.value.param.split(".")[0]) == (400, param)


def test_unknown_features_are_refused_with_those_there_are():
    with pytest.raises(ValueError, match="'colour' is none of completions, echo"):
        Capabilities(without=frozenset({"colour"}))
    assert Capabilities(without=frozenset(FEATURES)).without == set(FEATURES)
