"""From the log probabilities of an answer to the places where it could have said a number.

The forms differ: chat completions list alternatives with their bytes, completions give dictionaries
by text, vLLM's `prompt_logprobs` dictionaries by token id. Tokens are laid along the text that they
spell, because the offsets that servers give drift where a character is in pieces.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from neurogloss.neurons.distributions import UNKNOWN, pack_distributions

MIN_COVERED = 1e-5  # below it float16 would not hold the distribution
_NUMBERS = {str(number): number for number in range(11)}
_BYTES = re.compile(r"^bytes:(?:\\x[0-9a-fA-F]{2})+$")
_LONGEST_CHARACTER = 4  # bytes
_RUN = 6  # tokens by which a place is known again
_UNKNOWN_START = 32  # characters in which the first token with a text may begin


@dataclass(frozen=True, slots=True)
class _Token:
    """A token of a text, with what could stand in its place, in the form of the server.

    `text` is empty where it is not told, as that of a piece of a character is not; it `hides` so
    many characters then, at most.
    """

    text: str
    alternatives: Any
    hides: int = 0


def chat_places(content: Iterable[Mapping[str, Any]], text: str) -> bytes:
    """Return, packed, the numbers that a chat completion wrote, with their alternatives.

    Args:
        content: `logprobs.content` of a choice.
        text: Its message, which the tokens spell, perhaps after more (as reasoning or white space).

    Raises:
        ValueError, KeyError, TypeError, AttributeError: It has not the form of log probabilities.
    """
    tokens = [_chat_token(entry) for entry in content]
    spelt = "".join(token.text for token in tokens)
    tokens = _without_start(tokens, max(0, spelt.rfind(text)))
    return pack_distributions(
        (offset, _numbers((one["token"], one["logprob"]) for one in token.alternatives or ()))
        for offset, token in _laid_along(tokens, text)
        if token.text.strip() in _NUMBERS
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
    pairs: Callable[[Any], Iterable[tuple[str, Any]]] = dict.items
    if listed is not None:
        tokens, pairs = [_vllm_token(entry) for entry in listed], _vllm_pairs
    elif (logprobs := choice.get("logprobs")) is not None:
        tops = logprobs["top_logprobs"] or []
        tokens = [_token(*pair) for pair in zip(logprobs["tokens"], tops, strict=False)]
    else:
        return None
    found = (
        (offset, _numbers(pairs(token.alternatives or {})))
        for offset, token in _laid_along(tokens, prompt)
        if prompt.startswith(UNKNOWN, offset)
    )
    return pack_distributions(place for place in found if sum(place[1].values()) >= MIN_COVERED)


def _token(shown: str, alternatives: Any) -> _Token:
    if not shown or "\N{REPLACEMENT CHARACTER}" in shown or _BYTES.match(shown):
        return _Token("", alternatives, max(len(shown), _LONGEST_CHARACTER))
    return _Token(shown, alternatives)


def _chat_token(entry: Mapping[str, Any]) -> _Token:
    alternatives, raw = entry.get("top_logprobs"), entry.get("bytes")
    if isinstance(raw, list):
        try:
            return _Token(bytes(raw).decode(), alternatives)
        except UnicodeDecodeError:
            return _Token("", alternatives, max(len(raw), _LONGEST_CHARACTER))
    return _token(entry["token"], alternatives)


def _vllm_token(entry: Mapping[str, Mapping[str, Any]] | None) -> _Token:
    """Read one place: the first of its dictionary is the token of the prompt."""
    if not entry:
        return _Token("", None, _UNKNOWN_START)
    first = next(iter(entry.values()))
    return _token(first.get("decoded_token") or "", entry)


def _vllm_pairs(entry: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    return ((one.get("decoded_token") or "", one["logprob"]) for one in entry.values())


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
        if left < len(token.text):
            kept.append(_Token(token.text[left:], token.alternatives))
        elif left == 0:
            kept.append(token)
        left = max(0, left - len(token.text))
    return kept


def _laid_along(tokens: Sequence[_Token], text: str) -> Iterator[tuple[int, _Token]]:
    """Yield each token that is more than white space, with where that begins in the text.

    Behind tokens that hide what they are, the next one is looked for as far as they may reach.
    Where tokens leave the text, laying ends.
    """
    place, hidden = 0, 0
    for index, token in enumerate(tokens):
        if not token.text:
            hidden += token.hides
            continue
        run = _run(tokens, index) if hidden else token.text
        start = _found(token.text, run, text, place, hidden)
        if start is None:
            if place == 0:  # a mark before the text, such as <s>
                continue
            return
        place, hidden = start + len(token.text), 0
        blanks = len(token.text) - len(token.text.lstrip())
        if blanks < len(token.text):
            yield start + blanks, token


def _run(tokens: Sequence[_Token], first: int) -> str:
    """Return what the next tokens spell, as far as it is told."""
    following = (token.text for token in tokens[first : first + _RUN])
    return "".join(takewhile(bool, following))


def _found(token: str, run: str, text: str, place: int, hidden: int) -> int | None:
    """Return where a token is that begins a run, so many characters behind a place at most."""
    for spelt in (run, token):
        start = text.find(spelt, place, place + hidden + len(spelt))
        if start >= 0:
            return start
    dropped = place > 0 and text.startswith(" " + token, place)  # as some tokenizers do alone
    return place + 1 if dropped else None
