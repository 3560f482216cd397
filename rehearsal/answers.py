"""What the rehearsal server says: words that follow from the seed and the question alone."""

import re

import orjson

from rehearsal.activations import activation, activations, last_token, shown_texts
from rehearsal.faults import ContentFault
from rehearsal.questions import CHARACTERS_PER_TOKEN, Question
from rehearsal.replies import Answer
from rehearsal.schemas import SchemaFiller
from rehearsal.seeded_random import draw

OPENING = "rehearsal answer, not a language model:"
ACTIVATION_LEVELS = tuple(range(11))

_TOKEN_LINE = re.compile(r"^(.*)\t(\d+(?:\.\d+)?)[ \t]*$", re.MULTILINE)
_SHOWN_CHARACTERS = 40
_KINDS = ("formal", "plain", "hurried", "patient", "spoken", "printed", "early", "late")
_SUBJECTS = ("harbour", "orchard", "railway", "weather", "kitchen", "garden", "market", "theatre")
_TEXTS = ("stories", "letters", "reports", "notes", "lists", "songs", "questions", "replies")


def answer(question: Question, seed: int) -> Answer:
    """Return the answer to a question.

    Raises:
        ApiError: 400 where the schema asked for cannot be filled.
    """
    return _within_limit(_text(question, seed), question.max_tokens)


def spoilt(good: Answer, fault: ContentFault, question: Question, seed: int) -> Answer:
    """Return what comes instead of a good answer where a fault strikes.

    Where the fault makes no sense for such an answer, the good one comes.
    """
    text = good.text
    match fault:
        case "refusal":
            return Answer(content=None, refusal="rehearsal refusal, made up: it will not say")
        case "empty":
            return Answer(content="")
        case "truncated":
            return Answer(content=text[: len(text) // 2], finish_reason="length")
        case "malformed":
            return _within_limit(_malformed(question, text, seed), question.max_tokens)
        case "position_missing" | "position_added":
            return _with_another_length(good, fault == "position_added")


def strongest_token(text: str) -> str | None:
    """Return the token of the line "token<TAB>number" with the largest number, the first of equals.

    None if there is no such line.
    """
    lines: list[tuple[str, str]] = _TOKEN_LINE.findall(text)
    return max(lines, key=lambda line: float(line[1]))[0] if lines else None


def _text(question: Question, seed: int) -> str:
    asked = question.last_user_text
    if question.answer_form == "json_schema":
        definitions = question.schema.get("$defs", {})
        filler = SchemaFiller(seed, question.digest, shown_texts(asked), definitions)
        return orjson.dumps(filler.fill(question.schema)).decode()
    if question.max_tokens == 1:
        return _single_activation(asked, seed)
    if last_token(asked) is not None:
        return _simulation(asked, seed)
    text = explanation(question.digest, asked, seed)
    if question.answer_form == "json_object":
        return orjson.dumps({"explanation": text}).decode()
    return text


def _single_activation(asked: str, seed: int) -> str:
    """Answer with one number, about the token of the last line, or that line itself."""
    token = last_token(asked)
    line = asked.rstrip().rpartition("\n")[2]
    return str(activation(seed, line if token is None else token, ACTIVATION_LEVELS))


def _simulation(asked: str, seed: int) -> str:
    """Answer what a schema would have asked for, where the question shows texts without one."""
    found = []
    for shown in shown_texts(asked):
        values = activations(seed, list(shown.values()), ACTIVATION_LEVELS)
        found.append(dict(zip(shown, values, strict=True)))
    several = {str(number): values for number, values in enumerate(found)}
    return orjson.dumps(found[0] if len(found) == 1 else several).decode()


def explanation(digest: bytes, text: str, seed: int) -> str:
    """Return one line about the strongest token of a text. `digest`: of the whole question."""
    kind, subject, place = (
        words[draw(seed, digest, index) % len(words)]
        for index, words in enumerate((_KINDS, _SUBJECTS, _TEXTS))
    )
    token = strongest_token(text)
    shown = "none, as none was shown," if token is None else repr(token[:_SHOWN_CHARACTERS])
    return f"{OPENING} tokens like {shown} in {kind} {subject} {place}"


def _malformed(question: Question, text: str, seed: int) -> str:
    variants = ['{"rehearsal": "not what was asked']
    if question.answer_form != "text":
        variants = [text[: len(text) // 2], '{"rehearsal":"not what was asked"}', f"{OPENING} no"]
    return variants[draw(seed, "malformed", question.digest) % len(variants)]


def _with_another_length(good: Answer, longer: bool) -> Answer:
    """Return a simulation with a position more or less; any other answer as it is."""
    try:
        values = orjson.loads(good.text)
    except orjson.JSONDecodeError:
        return good
    if not isinstance(values, dict) or list(values) != [str(n) for n in range(len(values))]:
        return good
    if longer:
        values[str(len(values))] = 0
    else:
        values.popitem()
    return Answer(content=orjson.dumps(values).decode())


def _within_limit(text: str, max_tokens: int | None) -> Answer:
    if max_tokens is None or len(text) <= max_tokens * CHARACTERS_PER_TOKEN:
        return Answer(content=text)
    return Answer(content=text[: max_tokens * CHARACTERS_PER_TOKEN], finish_reason="length")
