"""The contents of chat answers, which depend on the seed and the request alone."""

import re

import orjson

from rehearsal.activations import activation, activations, last_token, shown_texts
from rehearsal.chat_requests import CHARACTERS_PER_TOKEN, ChatRequest
from rehearsal.faults import ContentFault
from rehearsal.replies import AssistantMessage
from rehearsal.schemas import SchemaFiller
from rehearsal.seeded_random import draw

# In every text of an answer, so that nobody takes a made-up explanation for a real one.
OPENING = "rehearsal answer, not a language model:"
ACTIVATION_LEVELS = tuple(range(11))

_TOKEN_LINE = re.compile(r"^(.*)\t(\d+(?:\.\d+)?)[ \t]*$", re.MULTILINE)
_SHOWN_CHARACTERS = 40
_KINDS = ("formal", "plain", "hurried", "patient", "spoken", "printed", "early", "late")
_SUBJECTS = ("harbour", "orchard", "railway", "weather", "kitchen", "garden", "market", "theatre")
_TEXTS = ("stories", "letters", "reports", "notes", "lists", "songs", "questions", "replies")


def answer(request: ChatRequest, seed: int) -> AssistantMessage:
    """Return the good answer to a request.

    Raises:
        ApiError: 400 if the schema that the request asks for cannot be filled.
    """
    return _within_limit(_text(request, seed), request.max_tokens)


def with_fault(
    good: AssistantMessage, fault: ContentFault, request: ChatRequest, seed: int
) -> AssistantMessage:
    """Return a good answer after a fault; the same answer if the fault cannot apply to it."""
    text = good.text
    match fault:
        case "refusal":
            return AssistantMessage(
                content=None, refusal="rehearsal refusal, made up: it will not say"
            )
        case "empty":
            return AssistantMessage(content="")
        case "truncated":
            return AssistantMessage(content=text[: len(text) // 2], finish_reason="length")
        case "malformed":
            return _within_limit(_malformed(request, text, seed), request.max_tokens)
        case "position_missing" | "position_added":
            return _with_another_length(good, fault == "position_added")


def strongest_token(text: str) -> str | None:
    """Return the token of the line "token<TAB>number" with the largest number.

    It is the first of equals; None if there is no such line.
    """
    lines: list[tuple[str, str]] = _TOKEN_LINE.findall(text)
    return max(lines, key=lambda line: float(line[1]))[0] if lines else None


def _text(request: ChatRequest, seed: int) -> str:
    prompt = request.last_user_text
    if request.answer_form == "json_schema":
        definitions = request.schema.get("$defs", {})
        filler = SchemaFiller(seed, request.digest, shown_texts(prompt), definitions)
        return orjson.dumps(filler.fill(request.schema)).decode()
    if request.max_tokens == 1:
        return _single_activation(prompt, seed)
    if last_token(prompt) is not None:
        return _simulation(prompt, seed)
    text = explanation(request.digest, prompt, seed)
    if request.answer_form == "json_object":
        return orjson.dumps({"explanation": text}).decode()
    return text


def _single_activation(prompt: str, seed: int) -> str:
    """Return the level of the last token, or of the last line if that shows no token."""
    token = last_token(prompt)
    line = prompt.rstrip().rpartition("\n")[2]
    return str(activation(seed, line if token is None else token, ACTIVATION_LEVELS))


def _simulation(prompt: str, seed: int) -> str:
    """Return a simulation of the texts of a prompt, in the form that our schemas ask for."""
    simulations = []
    for text in shown_texts(prompt):
        values = activations(seed, list(text.values()), ACTIVATION_LEVELS)
        simulations.append(dict(zip(text, values, strict=True)))
    by_number = {str(number): values for number, values in enumerate(simulations)}
    return orjson.dumps(simulations[0] if len(simulations) == 1 else by_number).decode()


def explanation(digest: bytes, text: str, seed: int) -> str:
    """Return an explanation of one line, by the strongest token of a text.

    `digest` is that of the whole request, so that another request gets other words.
    """
    kind, subject, place = (
        words[draw(seed, digest, index) % len(words)]
        for index, words in enumerate((_KINDS, _SUBJECTS, _TEXTS))
    )
    token = strongest_token(text)
    shown = "none, as none was shown," if token is None else repr(token[:_SHOWN_CHARACTERS])
    return f"{OPENING} tokens like {shown} in {kind} {subject} {place}"


def _malformed(request: ChatRequest, text: str, seed: int) -> str:
    variants = ['{"rehearsal": "not what was asked']
    if request.answer_form != "text":
        variants = [text[: len(text) // 2], '{"rehearsal":"not what was asked"}', f"{OPENING} no"]
    return variants[draw(seed, "malformed", request.digest) % len(variants)]


def _with_another_length(good: AssistantMessage, longer: bool) -> AssistantMessage:
    """Return a simulation with a position added or removed; any other answer unchanged."""
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
    return AssistantMessage(content=orjson.dumps(values).decode())


def _within_limit(text: str, max_tokens: int | None) -> AssistantMessage:
    if max_tokens is None or len(text) <= max_tokens * CHARACTERS_PER_TOKEN:
        return AssistantMessage(content=text)
    return AssistantMessage(
        content=text[: max_tokens * CHARACTERS_PER_TOKEN], finish_reason="length"
    )
