"""Reading an explanation from what a model wrote about a neuron."""

import re

from neurogloss.errors import Malformed
from neurogloss.neurons.reasoning import without_reasoning

MAX_CHARACTERS = 1000  # of an explanation; a sentence that is longer is cut off

_NEURON = r"(?:this|the) neuron(?: \d{1,9})?|neuron \d{1,9}|it"
_LOOKS_FOR = (
    r"(?:looks? for|looking for|searche?s? for|finds?|detects?|identif(?:y|ies)|recogni[sz]es?"
    r"|responds? to|activates? (?:on|for|in response to)|fires? (?:on|for|in response to))"
)
_OFTEN = r"(?:(?:seems?|appears?|likely|mainly|mostly|primarily|specifically|strongly|to) ){0,4}"
_LEAD_INS = re.compile(
    rf"(?:the )?main thing (?:that )?(?:{_NEURON}) (?:does|finds?|looks? for)"
    rf"(?: is)?:?(?: to)?(?: {_LOOKS_FOR}\b)?"
    rf"|(?:{_NEURON}) {_OFTEN}(?:{_LOOKS_FOR}|is (?:looking for|activated by|sensitive to))\b"
    r"|(?:(?:final |short )?(?:explanation|answer|summary|description))"
    rf"(?: (?:of|for) (?:{_NEURON}))?(?: behavior)?\s?(?::|-\s|\u2013\s)"
    r"|(?:sure|certainly|okay|of course)[!,.:]\s"
    r"|(?:\d{1,2}[.)]|[-*•#]{1,3})\s",
    re.IGNORECASE,
)
_QUOTES = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019", "«": "»"}
_EMPTY = re.compile(r"\s*(?:```\w*\s*)?")  # also a fence of code
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
# A full stop after two lower-case letters is no abbreviation, as it may be in "e.g." or "Mr.".
_SENTENCE_END = re.compile(r"(?:[a-z\d]{2}|[\"'\u201d\u2019)\]])[.!?][\"'\u201d\u2019)\]]?(?=\s)")


def read_explanation(text: str) -> str:
    """Return the explanation that a whole answer holds.

    Raises:
        Malformed: It holds none.
    """
    return _not_empty(clean_explanation(text), text)


def read_cut_explanation(text: str) -> str:
    """Return the explanation that is there of an answer which stops at its limit of tokens.

    Raises:
        Malformed: There is none.
    """
    return _not_empty(clean_explanation(text, is_cut_off=True), text)


def _not_empty(explanation: str, text: str) -> str:
    if explanation:
        return explanation
    if text.strip() and not without_reasoning(text):
        raise Malformed("the answer is reasoning alone, without an explanation after it")
    raise Malformed("the explanation is empty")


def clean_explanation(text: str, *, is_cut_off: bool = False) -> str:
    """Return the first line of an answer that says anything; it may be empty.

    Left out are reasoning, lead-ins, quotes and numbering. Of a line that is cut off, or too long,
    the first sentence is kept.
    """
    lines = [line for line in without_reasoning(text).splitlines() if not _EMPTY.fullmatch(line)]
    # A line such as "Here is the explanation:" announces the next.
    while len(lines) > 1 and (lines[0].rstrip().endswith(":") or not _unwrapped(lines[0])):
        del lines[0]
    line = lines[0].strip() if lines else ""
    if (is_cut_off and len(lines) == 1) or len(line) > MAX_CHARACTERS:
        line = _first_sentence(line)[:MAX_CHARACTERS]
    return _unwrapped(line)


def _first_sentence(text: str) -> str:
    end = _SENTENCE_END.search(text)
    return text[: end.end()] if end else text


def _unwrapped(text: str) -> str:
    # Wrappings nest in any order, such as a numbered lead-in in quotes.
    while (shorter := _without_wrapping(text)) != text:
        text = shorter
    return text


def _without_wrapping(text: str) -> str:
    text = text.strip()
    if lead_in := _LEAD_INS.match(text):
        return text[lead_in.end() :].lstrip(" :")
    if bold := _BOLD.match(text):
        return bold[1] + text[bold.end() :]
    inner = text[1:-1]
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and not {text[0], text[-1]} & {*inner}:
        return inner
    return text.removesuffix(".").rstrip()
