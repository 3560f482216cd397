import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurogloss.errors import Malformed, Refused
from neurogloss.neurons.explanations import (
    MAX_CHARACTERS,
    clean_explanation,
    read_cut_explanation,
    read_explanation,
)
from neurogloss.neurons.prompts import LEAD_IN


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (f" {LEAD_IN} names of rivers.", "names of rivers"),
        ("the main thing the neuron does is find names of rivers.", "names of rivers"),
        ("The main thing that neuron 4 does is to find rivers", "rivers"),
        ("The main thing this neuron does is finding fault", "finding fault"),
        ("**The main thing this neuron does is find rivers.**", "rivers"),
        ("**Explanation:** rivers", "rivers"),
        ("Explanation of neuron 4 behavior: the neuron looks for rivers", "rivers"),
        ("This neuron seems to respond to rivers", "rivers"),
        ("The neuron activates on rivers", "rivers"),
        ("Sure! This neuron detects rivers.", "rivers"),
        ("Here is the explanation:\n\nrivers and lakes", "rivers and lakes"),
        ("```text\nrivers\n```", "rivers"),
        ("### Explanation\n\nrivers", "rivers"),
        ("**Explanation**\nrivers", "rivers"),
        ("Here's my short explanation: rivers", "rivers"),
        ("Based on the activations, this neuron is looking for rivers.", "rivers"),
        ("I think this neuron fires strongly on rivers", "rivers"),
        ("This neuron fires when it sees rivers", "rivers"),
        ("This neuron appears to be looking for rivers", "rivers"),
        ("The main function of this neuron is to find rivers.", "rivers"),
        ("This neuron's main function is to detect rivers", "rivers"),
        ("Neuron 4: rivers", "rivers"),
        ("find rivers.", "rivers"),
        ("is find rivers", "rivers"),
        ("find and other verbs of search", "find and other verbs of search"),
        ("Assistant: rivers", "rivers"),
        ("R\xe9ponse : rivi\xe8res", "rivi\xe8res"),
        ("\u89e3\u91ca\uff1a\u6cb3\u6d41", "\u6cb3\u6d41"),
        ("> rivers", "rivers"),
        ("*rivers*", "rivers"),
        ("__rivers__", "rivers"),
        ("**rivers** and **lakes**", "rivers and lakes"),
        ("snake_case and other_names", "snake_case and other_names"),
        ('{"explanation": "rivers"}', "rivers"),
        ('```json\n{"explanation": "This neuron looks for rivers."}\n```', "rivers"),
        ('{"a": 1} and other objects', '{"a": 1} and other objects'),
        ("rivers<|im_end|>", "rivers"),
        ('"names of rivers"', "names of rivers"),
        ("\u201cnames of rivers\u201d", "names of rivers"),
        ('"cat" and "dog"', '"cat" and "dog"'),
        ("1. names of rivers\n2. other things", "names of rivers"),
        ("- names of rivers\n- other things", "names of rivers"),
        ("-ing verbs", "-ing verbs"),
        ("1984 and other years", "1984 and other years"),
        ("its own name", "its own name"),
        ("the neuronal activity of rats", "the neuronal activity of rats"),
        (f"{LEAD_IN}: {LEAD_IN} rivers", "rivers"),
        (f"{LEAD_IN} rivers\nand what lies along them", "rivers"),
        ("rivers. And lakes.", "rivers. And lakes"),
        ("  \n ", ""),
        (LEAD_IN + ".", ""),
    ],
)
def test_an_explanation_is_its_first_line_without_what_stands_around_it(raw, clean):
    assert clean_explanation(raw) == clean


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("names of rivers and lakes. They also fi", "names of rivers and lakes"),
        ('words such as "Rhine." They al', 'words such as "Rhine."'),
        ("names of rivers, e.g. the Rh", "names of rivers, e.g. the Rh"),
        (f"{LEAD_IN} names of rivers\nand of la", "names of rivers"),
        ("names of rivers and of what lies alo", "names of rivers and of what lies alo"),
        ("<think>rivers?</think>names of rivers. They", "names of rivers"),
    ],
)
def test_of_an_explanation_that_is_cut_off_the_first_sentence_is_kept(raw, clean):
    assert read_cut_explanation(raw) == clean


def test_a_line_without_end_is_no_explanation_as_long_as_it_likes():
    assert len(clean_explanation("rivers and " * 10_000)) <= MAX_CHARACTERS


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("", "the explanation is empty"),
        (f"{LEAD_IN}.", "the explanation is empty"),
        ("<think>rivers, I", "reasoning alone"),
        ("<think>rivers</think>\n", "reasoning alone"),
    ],
)
@pytest.mark.parametrize("read", [read_explanation, read_cut_explanation])
def test_an_answer_without_an_explanation_is_a_failure_with_its_reason(read, raw, reason):
    with pytest.raises(Malformed, match=reason):
        read(raw)


@pytest.mark.parametrize(
    "raw",
    [
        "I'm sorry, but I can't help with that.",
        "Sorry, but I cannot do this",
        "I cannot determine what this neuron does.",
        "As an AI language model, I have no neurons",
        "I can\u2019t identify a pattern",
    ],
)
def test_an_excuse_is_no_explanation(raw):
    with pytest.raises(Refused, match="the model declined to answer"):
        read_explanation(raw)


@pytest.mark.parametrize("raw", ["N/A", "None.", "Explanation: unknown", "**", '"..."'])
def test_nothing_in_words_is_no_explanation(raw):
    with pytest.raises(Malformed, match="empty"):
        read_explanation(raw)


@pytest.mark.parametrize(
    "raw",
    ['"I\'m sorry" and other apologies', "as an adverb", "I can do it", "none of the"],
)
def test_an_explanation_may_speak_of_excuses(raw):
    assert read_explanation(raw) == raw


@given(st.text(max_size=60))
def test_cleaning_twice_changes_nothing(text):
    assert clean_explanation(clean_explanation(text)) == clean_explanation(text)
