import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurogloss.errors import Malformed
from neurogloss.neurons.json_answers import load_json, parse_simulation
from neurogloss.neurons.reasoning import without_reasoning

ANSWER = '{"0": 1, "1": 10}'
BEFORE = [
    "<think>{0}</think>",
    "<think>\n{0}\n</think>\n\n",
    "<thinking>{0}</thinking>",
    "<Reasoning>{0}</Reasoning>",
    "<thought>{0}</thought>",
    "<seed:think>{0}</seed:think>",
    "< think >{0}</ think >",
    "<longcat_think>{0}</longcat_think>",
    "<mm:think>{0}</mm:think>",
    "<thought_process>{0}</thought_process>",
    "<reasoning_content>{0}</reasoning_content>",
    "<inner_monologue>{0}</inner_monologue>",
    "<|thinking|>{0}<|/thinking|>",
    "<unused94>thought\n{0}<unused95>",
    "[THINK]{0}[/THINK]",
    "\u25c1think\u25b7{0}\u25c1/think\u25b7",
    "<|begin_of_thought|>{0}<|end_of_thought|>",
    "<|START_THINKING|>{0}<|END_THINKING|>",
    "<|channel|>analysis<|message|>{0}<|end|><|start|>assistant<|channel|>final<|message|>",
    "<|channel|>analysis<|message|>{0}<|end|><|start|>assistant"
    "<|channel|>final <|constrain|>json<|message|>",
    "<|channel>thought\n{0}<channel|>",
    "analysisWe think {0}assistantfinal",
    "{0}</think>",
    "<think></think><think>{0}</think>",
]


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("thought", ["", "rivers? 0: 3, 1: 2\nor lakes", "<b> [0] {{}}"])
def test_reasoning_is_no_part_of_the_answer(before, thought):
    text = before.format(thought) + ANSWER
    assert without_reasoning(text) == ANSWER
    assert parse_simulation(text, 2).tolist() == [1, 10]
    assert parse_simulation(f"{before.format(thought)}```json\n{ANSWER}\n```", 2).tolist() == [
        1,
        10,
    ]


AROUND = [
    "{0}<|im_end|>",
    "{0}\n<|eot_id|>",
    "{0}</s></s>",
    "{0}<end_of_turn>",
    "<answer>{0}</answer>",
    "<output>\n{0}\n</output>\n",
    "<think>so</think><response>{0}",
    "<|START_RESPONSE|>{0}<|END_RESPONSE|>",
    "<|begin_of_thought|>so<|end_of_thought|>\n\n<|begin_of_solution|>{0}<|end_of_solution|>",
]


@pytest.mark.parametrize("around", AROUND)
def test_marks_around_an_answer_are_no_part_of_it(around):
    assert without_reasoning(around.format("rivers")) == "rivers"
    assert load_json(around.format(ANSWER)) == json.loads(ANSWER)


SENTENCES = [
    "Here is the JSON:\n{0}",
    "Sure!\n\n{0}\n\nLet me know if you need more.",
    "Here is the JSON:\n```json\n{0}\n```\nAll values are estimates.",
    "json\n{0}",
    "```JSON\n{0}\n```",
    "~~~json\n{0}\n~~~",
    "`{0}`",
    "\ufeff{0}",
    "{0}\n```",
]


@pytest.mark.parametrize("sentences", SENTENCES)
def test_json_may_stand_among_sentences(sentences):
    assert load_json(sentences.format(ANSWER)) == json.loads(ANSWER)


@pytest.mark.parametrize(
    "text",
    [
        f"{ANSWER} or rather {ANSWER}",
        f"As in [1], the values are {ANSWER}",
        f"in the form {{position: value}}: {ANSWER}",
        f"Here it is: {ANSWER[:-1]}",
        'Here it is: {"0": 1, "0": 2}',
        'Here it is: {"0": NaN}',
        "I see no values.",
    ],
)
def test_json_is_not_guessed(text):
    with pytest.raises(Malformed):
        load_json(text)


@pytest.mark.parametrize(
    "text",
    [
        "<think>We are shown rivers",
        "<thinking>\n",
        "<think>a</think><think>b",
        "[THINK]rivers",
        "<|channel|>analysis<|message|>We are shown rivers",
        "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary<|message|>b",
        "analysisWe are shown rivers",
    ],
)
def test_reasoning_that_does_not_end_leaves_nothing(text):
    assert without_reasoning(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "analysis of texts",
        "the tag <think> in logs",
        'words in marks such as "<think>" and "</think>"',
        "the token <|endoftext|>",
        "[0, 1]",
        ANSWER,
    ],
)
def test_an_answer_that_speaks_of_such_marks_stays_whole(text):
    assert without_reasoning(text) == text


def test_json_whose_values_speak_of_such_marks_is_read_as_it_is():
    values = {"fires": "a </think> that ends", "silent": "the\n<think> ```code```"}
    assert load_json(json.dumps(values)) == values


@given(st.text(alphabet='<>/|[]think channel\n"', max_size=60))
def test_nothing_is_added(text):
    assert len(without_reasoning(text)) <= len(text)


@pytest.mark.parametrize(
    "text", ["<think>", "</think>", "<think>a</think>", "<|channel|>" + " " * 50, "analysisA"]
)
def test_a_long_answer_of_nothing_but_marks_is_read_at_once(text):
    started = time.monotonic()
    without_reasoning(text * 50_000)
    assert time.monotonic() - started < 10
