"""The edge cases of the reference method (method.md, section 14), by their number there.

Where our prompts make a case impossible, the test shows that; where it can come, it is read right
or is an error, and never a zero. 17 cannot come: no preamble of an answer is passed over.
"""

import json
import math

import httpx
import numpy as np
import orjson
import pytest

from neurogloss.errors import BadCredentials, Malformed, RequestRejected, ServiceUnavailable
from neurogloss.llm.calls import Call
from neurogloss.llm.parameter_support import ParameterSupport
from neurogloss.llm.responses import UnsupportedParameter, raise_for_error, read_completion
from neurogloss.neurons.distributions import pack_distributions
from neurogloss.neurons.explanations import clean_explanation
from neurogloss.neurons.json_answers import parse_simulation
from neurogloss.neurons.prompts import LEAD_IN, explanation_messages
from neurogloss.neurons.records import ActivationRecord, normalize
from neurogloss.neurons.scoring import correlation_score
from neurogloss.neurons.simulators.base import ModelReply
from neurogloss.neurons.simulators.echo_logprobs import echo_prompt
from neurogloss.neurons.simulators.json_simulator import json_messages
from neurogloss.neurons.simulators.kinds import SimulatorChoice, simulator_of
from neurogloss.neurons.splits import Split, random_slice, top_slice

ECHO = simulator_of(SimulatorChoice("echo_logprobs"))
NUMBERS = {str(n): math.log(0.08 if n != 6 else 0.2) for n in range(11)}


def echoed(tokens, cut=None, change=lambda listed: listed, top=NUMBERS):
    """Return the simulation that an echo of the prompt about these tokens is read as."""
    prompt, offsets = echo_prompt("x", tokens)
    asked = {"prompt": prompt, "echo": True, "max_tokens": 1}
    pieces, end = [], 0
    for offset in offsets:
        pieces += [*([prompt[end:offset]] if end < offset else []), "unknown"]
        end = offset + len("unknown")
    pieces = change([*pieces, prompt[end:]])[:cut]
    logprobs = {"tokens": pieces, "top_logprobs": [None, *([top] * (len(pieces) - 1))]}
    content = orjson.dumps({"choices": [{"text": "".join(pieces), "logprobs": logprobs}]})
    reading = read_completion(content, asked)
    (found,) = ECHO.read("x", [tokens], [ModelReply(reading.text, reading.distributions)])
    return found


EXPECTED = 0.08 * (sum(range(11)) - 6) + 0.2 * 6


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("\n", id="1 a line break"),
        pytest.param("\n\n", id="1 two line breaks"),
        pytest.param(" \n", id="1 a blank and a line break"),
        pytest.param("", id="2 nothing"),
        pytest.param("\u00a0", id="2 a no-break space"),
        pytest.param("\t", id="3 a tab"),
        pytest.param("\t\t", id="3 two tabs"),
        pytest.param("<start>", id="4 <start>"),
        pytest.param("unknown", id="5 unknown"),
        pytest.param("10", id="5 a number"),
        pytest.param("<end>", id="5 <end>"),
        pytest.param("<|endoftext|>", id="5 14 <|endoftext|>"),
        pytest.param("\r", id="5 a carriage return"),
        pytest.param("\u200b", id="5 zero width"),
        pytest.param("\ufffd", id="6 a part of a character"),
    ],
)
def test_1_to_6_a_token_is_simulated_whatever_it_is(token):
    found = echoed(["a", token, "b"])
    assert found.expected.tolist() == pytest.approx([EXPECTED / (10 * 0.08 + 0.2)] * 3, rel=1e-2)


def test_6_pieces_of_characters_hide_no_position():
    def in_bytes(pieces):
        return [piece for p in pieces for piece in ([p[:-2], "bytes:\\xc3", "bytes:\\xa9", "\t"]
                if p.endswith("é\t") else [p])]  # fmt: skip

    assert echoed(["aé", "b"], change=in_bytes).expected.shape == (2,)


def test_7_tokens_that_are_cut_otherwise_are_the_same_tokens():
    def letters(pieces):
        return [piece for p in pieces for piece in ([p] if p == "unknown" else p)]

    assert echoed(["word", " \t<", "b"], change=letters).expected.shape == (3,)


@pytest.mark.parametrize("cut", [-2, -3, 1, 0])
def test_8_an_echo_that_ends_early_is_an_error(cut):
    with pytest.raises(Malformed, match="position"):
        echoed(["a", "b"], cut=cut)


def test_9_a_place_without_numbers_expects_0_and_says_that_it_covers_nothing():
    found = echoed(["a", "b"], top={"unknown": -0.1})
    assert (found.expected.tolist(), found.covered) == ([0.0, 0.0], 0.0)


def test_9_few_alternatives_show_in_the_covered_mass():
    found = echoed(["a"], top={"6": math.log(0.2), " 6": math.log(0.1), "unknown": -0.4})
    assert found.covered == pytest.approx(0.3, rel=1e-2)
    assert found.expected.tolist() == [6.0]


def test_10_the_first_token_of_an_echo_has_no_alternatives_and_a_chat_has_lists():
    entry = {"token": "6", "top_logprobs": [{"token": "6", "logprob": -0.1}]}
    content = {"choices": [{"message": {"content": "6"}, "logprobs": {"content": [entry]}}]}
    reading = read_completion(orjson.dumps(content))
    tokenwise = simulator_of(SimulatorChoice("token_by_token"))
    (found,) = tokenwise.read("x", [["a"]], [ModelReply(reading.text, reading.distributions)])
    assert found.expected.tolist() == [6.0]


def test_11_to_14_and_16_positions_are_keys_so_that_no_token_is_repeated_or_split():
    tokens = [" space", "<|endoftext|>", "\t", "༗", "1.5"]
    text = json.dumps({str(n): n for n in range(len(tokens))})
    assert parse_simulation(text, len(tokens)).tolist() == [0, 1, 2, 3, 4]
    lines = json_messages("x", [tokens])[-1]["content"].splitlines()
    assert lines[2:] == ["0:  space", "1: <|endoftext|>", r"2: \t", "3: ༗", "4: 1.5"]


@pytest.mark.parametrize(
    ("value", "found"), [("1.5", 1.5), ('"3"', 3.0), ("11", None), ("-0.0", 0.0), ("-1", None)]
)
def test_15_a_fraction_is_read_and_what_is_out_of_range_is_an_error(value, found):
    text = f'{{"0": {value}}}'
    if found is None:
        with pytest.raises(Malformed, match="not between 0 and 10"):
            parse_simulation(text, 1)
    else:
        assert parse_simulation(text, 1).tolist() == [found]


@pytest.mark.parametrize("text", ['{"0": 1, "1": 2', '{"0": 1}', "[1]", '{"0": 1, "2": 2}'])
def test_18_too_few_and_cut_off_answers_are_errors(text):
    with pytest.raises(Malformed):
        parse_simulation(text, 2)


@pytest.mark.parametrize(
    "text", ["```json\n{}\n```", '{"activations": null}', '{"0": null, "1": 1}', '{"0": "x"}', ""]
)
def test_19_json_that_is_not_what_was_asked_is_an_error(text):
    with pytest.raises(Malformed):
        parse_simulation(text, 2)


@pytest.mark.parametrize(
    "text", ["```json\n[1, 2]\n```", "```\n[1, 2]```", '{"activations": [1, 2]}', "[1.0, 2]"]
)
def test_19_fences_and_lists_are_read(text):
    assert parse_simulation(text, 2).tolist() == [1.0, 2.0]


def test_20_a_simulation_without_distributions_says_none():
    (found,) = simulator_of(SimulatorChoice("json")).read("x", [["a"]], [ModelReply("[1]")])
    assert found.distribution is None


@pytest.mark.parametrize(
    ("text", "clean"),
    [(" x.", "x"), (f"{LEAD_IN} {LEAD_IN} x.", "x"), ("1. x\n2. y", "x"), ("", ""), (" . ", "")],
)
def test_21_and_22_an_explanation_is_cleaned_and_may_turn_out_empty(text, clean):
    assert clean_explanation(text) == clean


def test_23_a_constant_side_has_no_score():
    assert correlation_score(np.array([1.0, 2.0]), np.array([3.0, 3.0])) is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_24_and_25_activations_are_finite_or_refused(bad):
    with pytest.raises(ValueError, match="cannot normalize"):
        normalize([1.0, bad], 2.0)
    assert normalize([1.0, -1.0], 0.0) == [0, 0]
    assert normalize([], 1.0) == []


def test_26_the_splits_share_no_record():
    ranks = list(range(20))
    dealt = [rank for split in Split for rank in ranks[top_slice(split, 5)]]
    assert sorted(dealt) == ranks
    with pytest.raises(ValueError, match="no records are in split train"):
        random_slice(Split.TRAIN, 5)


def test_27_the_same_record_is_asked_the_same_and_so_only_once():
    (one,), (other,) = (ECHO.ask("x", [["a", "b"]]) for _ in range(2))
    calls = [Call("simulate", "m", question.body, question.path) for question in (one, other)]
    assert calls[0].identity("http://a") == calls[1].identity("http://a")


def test_28_what_is_final_is_not_tried_again_and_a_body_that_is_no_json_is_read():
    for status, error in ((401, BadCredentials), (403, BadCredentials), (422, RequestRejected)):
        with pytest.raises(error):
            raise_for_error(httpx.Response(status, text="<html>no</html>"), None)
    with pytest.raises(ServiceUnavailable):
        read_completion(b"<html>")


def test_29_a_reasoning_model_is_asked_with_max_completion_tokens():
    body, support = {"max_tokens": 5, "temperature": 0.0}, ParameterSupport()
    message = "Unsupported parameter: 'max_tokens' ... Use 'max_completion_tokens' instead."
    with pytest.raises(UnsupportedParameter) as caught:
        raise_for_error(httpx.Response(400, json={"error": {"message": message}}), None)
    support.record_refusal(caught.value, body, "m")
    assert support.adapt(body) == {"max_completion_tokens": 5, "temperature": 0.0}


def test_a_prompt_shows_activations_of_its_own_records_alone():
    shown = explanation_messages([ActivationRecord(("a",), (2.0,))], 2.0)[-1]["content"]
    assert "a\t10" in shown
    assert pack_distributions([]) == b""
