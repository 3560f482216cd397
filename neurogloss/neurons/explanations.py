"""Reading an explanation from what a model wrote about a neuron."""

import json
import re
from contextlib import suppress

from neurogloss.errors import Malformed, Refused
from neurogloss.neurons.reasoning import without_reasoning

MAX_CHARACTERS = 1000  # of an explanation; a sentence that is longer is cut off

_NEURON = r"(?:this|the) neuron(?: \d{1,9})?|neuron \d{1,9}|it"
_MANNER = r"(?: (?:strongly|mainly|mostly|primarily|specifically|most))?"
_LOOKS_FOR = (
    r"(?:looks? for|looking for|searche?s? for|finds?|detects?|identif(?:y|ies)|recogni[sz]es?"
    rf"|responds?{_MANNER} to|(?:activates?|fires?){_MANNER} "
    r"(?:on|for|in response to|when (?:it|there) (?:sees?|reads?|encounters?|detects?|is|are)))"
)
_OFTEN = r"(?:(?:seems?|appears?|likely|mainly|mostly|primarily|specifically|strongly|to|be) ){0,5}"
_LABEL = (
    r"(?:final |short |brief )?(?:explanation|answer|summary|description|assistant"
    r"|explication|réponse|erklärung|antwort|explicación|respuesta|解释|答案|说明)"
)
_LEAD_INS = re.compile(
    rf"(?:the )?main thing (?:that )?(?:{_NEURON}) (?:does|finds?|looks? for)"
    rf"(?: is)?:?(?: to)?(?: {_LOOKS_FOR}\b)?"
    rf"|(?:{_NEURON}) {_OFTEN}(?:{_LOOKS_FOR}|is (?:looking for|activated by|sensitive to))\b"
    rf"|(?:the |this )?(?:neuron's )?(?:main |primary )?(?:function|role|purpose)"
    rf"(?: of (?:{_NEURON}))? is to {_LOOKS_FOR}\b"
    rf"|(?:here(?:'s| is) (?:the|my|a|an) )?{_LABEL}"
    rf"(?: (?:of|for) (?:{_NEURON}))?(?: behavior)?\s?(?:[:\uff1a]|-\s|\u2013\s)"
    r"|neuron \d{1,9}\s?(?::|-\s|\u2013\s)"
    r"|(?:based on|looking at|given|from) the [^,.:]{1,60},\s"
    r"|i (?:think|believe|would say)(?: that)?\s"
    r"|(?:sure|certainly|okay|of course)[!,.:]\s"
    r"|(?:is |to )?(?:finds?|detects?|looks? for)\s(?!(?:and|or|as|in|is)\b)"
    r"|(?:\d{1,2}[.)]|[-*•#>]{1,3})\s",
    re.IGNORECASE,
)
_QUOTES = {
    '"': '"',
    "'": "'",
    "`": "`",
    "*": "*",
    "_": "_",
    "\u201c": "\u201d",
    "\u2018": "\u2019",
    "«": "»",
}
_QUOTES |= {"*": "*", "_": "_"}  # emphasis
_EMPTY = re.compile(r"\s*(?:```\w*\s*)?")  # also a fence of code
_BOLD = re.compile(r"(\*\*|__)([^*_]+)\1")
_HEADING = re.compile(rf"#{{1,6}}\s*{_LABEL}\W*|\*\*{_LABEL}\*\*\W*", re.IGNORECASE)
_DECLINED = re.compile(
    r"(?:i'?m sorry|sorry|i apologi[sz]e),? but\b|as an ai\b"
    r"|i(?: cannot| can['\u2019]?t| am unable to|'m unable to) "
    r"(?:help|assist|determine|provide|answer|identify|explain|tell)\b",
    re.IGNORECASE,
)
_NOTHING = {"n/a", "none", "unknown", "null", "unclear", "*", "**", "..."}
# A full stop after two lower-case letters is no abbreviation, as it may be in "e.g." or "Mr.".
_SENTENCE_END = re.compile(r"(?:[a-z\d]{2}|[\"'\u201d\u2019)\]])[.!?][\"'\u201d\u2019)\]]?(?=\s)")


def read_explanation(text: str) -> str:
    """Return the explanation that a whole answer holds.

    Raises:
        Malformed: It holds none.
        Refused: The model declined.
    """
    return _not_empty(clean_explanation(text), text)


def read_cut_explanation(text: str) -> str:
    """Return the explanation that is there of an answer which stops at its limit of tokens.

    Raises:
        Malformed: There is none.
        Refused: The model declined.
    """
    return _not_empty(clean_explanation(text, is_cut_off=True), text)


def _not_empty(explanation: str, text: str) -> str:
    if _DECLINED.match(explanation):
        raise Refused(f"the model declined to answer: {explanation[:200]}")
    if explanation and explanation.lower() not in _NOTHING:
        return explanation
    if text.strip() and not without_reasoning(text):
        raise Malformed("the answer is reasoning alone, without an explanation after it")
    raise Malformed("the explanation is empty")


def clean_explanation(text: str, *, is_cut_off: bool = False) -> str:
    """Return the first line of an answer that says anything; it may be empty.

    Left out are reasoning, lead-ins, quotes and numbering. Of a line that is cut off, or too long,
    the first sentence is kept.
    """
    answer = _value_in_json(without_reasoning(text))
    lines = [line for line in answer.splitlines() if not _EMPTY.fullmatch(line)]
    # A line such as "Here is the explanation:" announces the next.
    while len(lines) > 1 and _announces(lines[0]):
        del lines[0]
    line = lines[0].strip() if lines else ""
    if (is_cut_off and len(lines) == 1) or len(line) > MAX_CHARACTERS:
        line = _first_sentence(line)[:MAX_CHARACTERS]
    return _unwrapped(line)


def _value_in_json(text: str) -> str:
    """Return the text in an answer such as {"explanation": "..."}; other answers as they are."""
    begin, end = text.find("{"), text.rfind("}")
    if not _EMPTY.fullmatch(text[:begin]) or not _EMPTY.fullmatch(text[end + 1 :]):
        return text
    with suppress(ValueError, RecursionError):
        values = [value for value in json.loads(text[begin : end + 1]).values() if value]
        if len(values) == 1 and isinstance(values[0], str):
            return values[0]
    return text


def _announces(line: str) -> bool:
    is_heading = line.rstrip().endswith((":", "\uff1a")) or _HEADING.fullmatch(line.strip())
    return bool(is_heading) or not _unwrapped(line)


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
        return text[lead_in.end() :].lstrip(" :\uff1a")
    if _BOLD.match(text):
        return _BOLD.sub(r"\2", text)
    inner = text[1:-1]
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and not {text[0], text[-1]} & {*inner}:
        return inner
    return text.removesuffix(".").rstrip()
