"""Leaving out what a model thought aloud before its answer, in the same text.

Models mark it in ways of their own: `<think>` (DeepSeek, Qwen), `[THINK]` (Mistral), channels
(gpt-oss, Gemma), and some chat templates open it in the prompt, so that only its end is seen.
"""

import re

_NAME = r"(?:seed:)?(?:think(?:ing)?|thoughts?|reasoning|reflection|analysis|scratchpad)"
_BEGIN = (
    rf"<{_NAME}>|\[{_NAME}\]|◁think▷|<\|begin_of_thought\|>|<\|START_THINKING\|>"
    r"|<\|?channel\|?>\s{0,9}(?:analysis|commentary|thought)\b(?:[^<\n]{0,99}<\|message\|>)?"
)
_END = (
    rf"</{_NAME}>|\[/{_NAME}\]|◁/think▷|<\|end_of_thought\|>|<\|END_THINKING\|>|<channel\|>"
    r"|<\|channel\|>\s{0,9}final\b[^<\n]{0,99}(?:<\|constrain\|>[^<\n]{0,99})?<\|message\|>"
)
_MARK = re.compile(rf"(?P<begin>{_BEGIN})|(?P<end>{_END})", re.IGNORECASE)
# gpt-oss, from servers that leave out the marks themselves.
_BARE_BEGIN, _BARE_END = re.compile(r"analysis(?=[A-Z])"), "assistantfinal"
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
    """Return an answer of gpt-oss without the mark of its end, and without unmarked reasoning."""
    if _BARE_BEGIN.match(text):
        text = text.rpartition(_BARE_END)[2] if _BARE_END in text else ""
    return text.removesuffix("<|return|>").removesuffix("<|end|>").strip()
