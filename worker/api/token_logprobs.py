"""From the log probabilities of an answer to the places where it could have said a number.

The forms differ: chat completions list alternatives with their bytes, completions give dictionaries
by text, vLLM's `prompt_logprobs` dictionaries by token id. Tokens are laid along the text that they
spell, because the offsets that servers give drift where a character is in pieces.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.neurons.distributions import UNKNOWN, pack

MIN_COVERED = 1e-5  # below it float16 would not hold the distribution
_NUMBERS = {str(number): number for number in range(11)}
_BYTES = re.compile(r"^bytes:(?:\\x[0-9a-fA-F]{2})+$")
_LONGEST_CHARACTER = 4  # bytes, and so the most characters that a piece of one can hide
_UNKNOWN_START = 32  # characters in which the first token with a text may begin


@dataclass(frozen=True, slots=True)
class _Token:
    """A token of a text, `text` None where it is not told, with what could stand in its place."""

    text: str | None
    alternatives: Mapping[int, float]


def chat_places(content: Iterable[Mapping[str, Any]], text: str) -> bytes:
    """Return, packed, the numbers that a chat completion wrote, with their alternatives.

    Args:
        content: `logprobs.content` of a choice.
        text: Its message, which the tokens spell, perhaps after more (as reasoning or white space).

    Raises:
        ValueError, KeyError, TypeError, AttributeError: It has not the form of log probabilities.
    """
    tokens = [_Token(_chat_text(entry), _alternatives(entry)) for entry in content]
    spelt = "".join(token.text or "" for token in tokens)
    tokens = _without_start(tokens, max(0, spelt.rfind(text)))
    return pack(
        (offset, token.alternatives)
        for offset, token in _laid_along(tokens, text)
        if (token.text or "").strip() in _NUMBERS
    )


def prompt_places(choice: Mapping[str, Any], body: Mapping[str, Any], prompt: str) -> bytes | None:
    """Return, packed, what was expected where a prompt says `unknown`; None if that is not told.

    Args:
        choice: Of a completion, with the `logprobs` of an echo or vLLM's `prompt_logprobs`.
        body: The answer that the choice is of.
        prompt: As it was sent.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: It has not the form of log probabilities.
    """
    listed = choice.get("prompt_logprobs") or body.get("prompt_logprobs")
    if listed is not None:
        tokens = [_vllm_token(entry) for entry in listed]
    elif (logprobs := choice.get("logprobs")) is not None:
        tops = logprobs["top_logprobs"] or []
        tokens = [
            _Token(_plain(text), _numbers((top or {}).items()))
            for text, top in zip(logprobs["tokens"], tops, strict=False)
        ]
    else:
        return None
    return pack(
        (offset, token.alternatives)
        for offset, token in _laid_along(tokens, prompt)
        if prompt.startswith(UNKNOWN, offset) and sum(token.alternatives.values()) >= MIN_COVERED
    )


def _chat_text(entry: Mapping[str, Any]) -> str | None:
    raw = entry.get("bytes")
    if isinstance(raw, list):
        try:
            return bytes(raw).decode()
        except UnicodeDecodeError:
            return None
    return _plain(entry["token"])


def _plain(text: str) -> str | None:
    """Return what a token adds to its text; None if that is only a part of a character."""
    if "\N{REPLACEMENT CHARACTER}" in text or _BYTES.match(text):
        return None
    return text


def _alternatives(entry: Mapping[str, Any]) -> dict[int, float]:
    listed = entry.get("top_logprobs") or []
    return _numbers((one["token"], one["logprob"]) for one in listed)


def _vllm_token(entry: Mapping[str, Mapping[str, Any]] | None) -> _Token:
    """Read one place: the first of its dictionary is the token of the prompt."""
    if not entry:
        return _Token(None, {})
    tokens = list(entry.values())
    pairs = [(one.get("decoded_token") or "", one["logprob"]) for one in tokens]
    return _Token(_plain(pairs[0][0]), _numbers(pairs))


def _numbers(pairs: Iterable[tuple[str, Any]]) -> dict[int, float]:
    """Return the probabilities of the numbers, a number with and without a space being one."""
    found: dict[int, float] = {}
    for text, logprob in pairs:
        number = _NUMBERS.get(text.strip())
        if number is not None and logprob is not None and not math.isnan(logprob):
            found[number] = min(1.0, found.get(number, 0.0) + math.exp(min(0.0, logprob)))
    return found


def _without_start(tokens: Sequence[_Token], length: int) -> list[_Token]:
    """Leave out what spells the first characters."""
    kept, left = [], length
    for token in tokens:
        text = token.text or ""
        if left < len(text):
            kept.append(_Token(text[left:], token.alternatives))
        elif left == 0:
            kept.append(token)
        left = max(0, left - len(text))
    return kept


def _laid_along(tokens: Iterable[_Token], text: str) -> Iterator[tuple[int, _Token]]:
    """Yield each token that is more than white space, with where that begins in the text.

    Tokens without a text, pieces of characters, hide a few characters; the next token is looked for
    behind them, there and no further. Where tokens leave the text, laying ends.
    """
    place, hidden = 0, 0
    for token in tokens:
        if not token.text:
            hidden += _LONGEST_CHARACTER if place or hidden else _UNKNOWN_START
            continue
        start = _found(token.text, text, place, hidden)
        if start is None:
            if place == 0:  # a mark before the text, such as <s>
                continue
            return
        place, hidden = start + len(token.text), 0
        blanks = len(token.text) - len(token.text.lstrip())
        if blanks < len(token.text):
            yield start + blanks, token


def _found(token: str, text: str, place: int, hidden: int) -> int | None:
    """Return where a token is, so many characters behind a place at most."""
    start = text.find(token, place, place + hidden + len(token))
    if start >= 0:
        return start
    dropped = place > 0 and text.startswith(" " + token, place)  # as some tokenizers do alone
    return place + 1 if dropped else None
