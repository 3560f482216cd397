"""Leaving out what a model thought aloud before its answer, in the same text.

Models mark it in ways of their own: `<think>` (DeepSeek, Qwen), `[THINK]` (Mistral), channels
(gpt-oss, Gemma), and some chat templates open it in the prompt, so that only its end is seen.
"""

import re

_NAME = (
    r"(?:[a-z]{1,12}[:_])?(?:think(?:ing)?|thoughts?|thought_process|reasoning(?:_content)?"
    r"|reflection|analysis|scratchpad|inner_monologue)"
)
_BEGIN = (
    rf"<\s?{_NAME}\s?>|<\|think(?:ing)?\|>|\[{_NAME}\]|◁think▷|<\|begin_of_thought\|>"
    r"|<\|START_THINKING\|>|<unused94>thought\b"
    r"|<\|?channel\|?>\s{0,9}(?:analysis|commentary|thought)\b(?:[^<\n]{0,99}<\|message\|>)?"
)
_END = (
    rf"<\s?/\s?{_NAME}\s?>|<\|/think(?:ing)?\|>|\[/{_NAME}\]|◁/think▷|<\|end_of_thought\|>"
    r"|<\|END_THINKING\|>|<unused95>|<channel\|>"
    r"|<\|channel\|>\s{0,9}final\b[^<\n]{0,99}(?:<\|constrain\|>[^<\n]{0,99})?<\|message\|>"
)
_MARK = re.compile(rf"(?P<begin>{_BEGIN})|(?P<end>{_END})", re.IGNORECASE)
# gpt-oss, from servers that leave out the marks themselves.
_BARE_BEGIN, _BARE_END = re.compile(r"analysis(?=[A-Z])"), "assistantfinal"
# What some servers leave at the end of an answer: the token that ends it.
_ENDS = re.compile(
    r"(?:\s{0,9}(?:<\|(?:return|end|im_end|eot_id|eom_id|end_of_text)\|>|</s>"
    r"|<end_of_turn>|<\|END_RESPONSE\|>|<\|end_of_solution\|>))+\Z"
)
_ANSWER_BEGINS = ("<|START_RESPONSE|>", "<|begin_of_solution|>")
_ANSWER_TAGS = re.compile(
    r"<(answer|output|response|final|solution|explanation)>(.*?)(?:</\1>|\Z)\s*\Z",
    re.IGNORECASE | re.DOTALL,
)
_LONGEST_MARK = 200  # characters
_QUOTES = tuple("\"'`\u201c\u2018")


def without_reasoning(text: str) -> str:
    """Return an answer without the reasoning in it: nothing, where it has not come to an end.

    A mark in quotes, or within a line and without an end, is what the answer speaks of.
    """
    kept: list[str] = []
    start, begin = 0, None
    for mark in _MARK.finditer(text):
        if text.endswith(_QUOTES, 0, mark.start()):
            continue
        if mark["end"]:
            if begin is None:  # an end without a beginning: all that is before it is reasoning
                kept.clear()
            else:
                kept.append(text[start:begin])
            start, begin = mark.end(), None
        elif begin is None:
            begin = mark.start()
    if begin is not None and _is_within_line(text, begin):
        begin = None
    return _without_marks("".join([*kept, text[start:begin]]).strip())


def _is_within_line(text: str, place: int) -> bool:
    line = text[max(0, place - _LONGEST_MARK) : place].rpartition("\n")[2].rstrip()
    return bool(line) and not line.endswith(("assistant", ">", "]"))


def _without_marks(text: str) -> str:
    """Return an answer without the marks around it, and without gpt-oss's unmarked reasoning."""
    if _BARE_BEGIN.match(text):
        text = text.rpartition(_BARE_END)[2] if _BARE_END in text else ""
    text = _ENDS.sub("", text)
    for begin in _ANSWER_BEGINS:
        text = text.removeprefix(begin)
    tagged = _ANSWER_TAGS.match(text.strip())
    return (tagged[2] if tagged else text).strip()
