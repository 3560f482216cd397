"""Log probabilities of the numbers 0 to 10, at the places of an answer where a number stands.

The forms differ: chat completions list alternatives with their bytes, completions give dictionaries
by text, vLLM's `prompt_logprobs` dictionaries by token id. Tokens are aligned with the text that
they spell, because the offsets that servers give drift where a character is split into tokens.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from neurogloss.neurons.distributions import UNKNOWN, pack_distributions

_NUMBERS = {str(number): number for number in range(11)}
_BYTES = re.compile(r"^bytes:(?:\\x[0-9a-fA-F]{2})+$")
_LONGEST_CHARACTER = 4  # bytes in UTF-8
_RUN = 6  # tokens that are searched for together after a gap: one alone may occur too early
_UNKNOWN_START = 32  # most characters of a token of which nothing is known


@dataclass(frozen=True, slots=True)
class _Token:
    """A token of a text.

    Attributes:
        text: Empty where the server does not give it, as for a part of a character.
        alternatives: The likely tokens in its place, in the form of the server.
        hides: The most characters that a token without text may stand for.
    """

    text: str
    alternatives: Any
    hides: int = 0


def first_place(content: Sequence[Mapping[str, Any]]) -> bytes:
    """Return, packed, the numbers among the alternatives to the first token of an answer.

    The token itself need not be a number.

    Args:
        content: `logprobs.content` of a choice.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: They are not log probabilities.
    """
    tokens = [_chat_token(entry) for entry in content[:1]]
    return pack_distributions(
        (0, _numbers(_chat_pairs(token.alternatives))) for token in tokens if token.alternatives
    )


def chat_places(content: Iterable[Mapping[str, Any]], text: str) -> bytes:
    """Return, packed, the numbers that a chat completion wrote, with their alternatives.

    Args:
        content: `logprobs.content` of a choice.
        text: Its message. The tokens spell it, perhaps after other text (reasoning, white space).

    Raises:
        ValueError, KeyError, TypeError, AttributeError: They are not log probabilities.
    """
    tokens = [_chat_token(entry) for entry in content]
    spelt = "".join(token.text for token in tokens)
    # The last occurrence: the message may be quoted in the reasoning before it.
    tokens = _without_start(tokens, max(0, spelt.rfind(text)))
    return pack_distributions(
        (offset, _numbers(_chat_pairs(token.alternatives)))
        for offset, token in _aligned(tokens, text)
        if token.alternatives and token.text.strip() in _NUMBERS
    )


def prompt_places(choice: Mapping[str, Any], body: Mapping[str, Any], prompt: str) -> bytes | None:
    """Return, packed, how likely the numbers were where a prompt says `unknown`.

    None if the completion has no log probabilities of its prompt.

    Args:
        choice: Of a completion, with the `logprobs` of an echo or vLLM's `prompt_logprobs`.
        body: The completion.
        prompt: As it was sent.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: They are not log probabilities.
    """
    entries = choice.get("prompt_logprobs") or body.get("prompt_logprobs")
    pairs: Callable[[Any], Iterable[tuple[str, Any]]] = dict.items
    if entries is not None:
        tokens, pairs = [_vllm_token(entry) for entry in entries], _vllm_pairs
    elif (logprobs := choice.get("logprobs")) is not None:
        tops = logprobs["top_logprobs"] or []
        tokens = [_token(*pair) for pair in zip(logprobs["tokens"], tops, strict=False)]
    else:
        return None
    return pack_distributions(
        (offset, _numbers(pairs(token.alternatives)))
        for offset, token in _aligned(tokens, prompt)
        if token.alternatives and prompt.startswith(UNKNOWN, offset)
    )


def _token(text: str, alternatives: Any) -> _Token:
    if not text or "\N{REPLACEMENT CHARACTER}" in text or _BYTES.match(text):
        return _Token("", alternatives, max(len(text), _LONGEST_CHARACTER))
    return _Token(text, alternatives)


def _chat_token(entry: Mapping[str, Any]) -> _Token:
    alternatives, raw = entry.get("top_logprobs"), entry.get("bytes")
    if isinstance(raw, list):
        try:
            return _Token(bytes(raw).decode(), alternatives)
        except UnicodeDecodeError:
            return _Token("", alternatives, max(len(raw), _LONGEST_CHARACTER))
    return _token(entry["token"], alternatives)


def _vllm_token(entry: Mapping[str, Mapping[str, Any]] | None) -> _Token:
    """Read one entry. The first token of its dictionary is the one in the prompt."""
    if not entry:
        return _Token("", None, _UNKNOWN_START)
    first = next(iter(entry.values()))
    return _token(first.get("decoded_token") or "", entry)


def _chat_pairs(alternatives: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    return ((other["token"], other["logprob"]) for other in alternatives)


def _vllm_pairs(entry: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    return ((token.get("decoded_token") or "", token["logprob"]) for token in entry.values())


def _numbers(pairs: Iterable[tuple[str, Any]]) -> dict[int, float]:
    """Return the probabilities of the numbers; those of " 7" and "7" are added up."""
    probabilities: dict[int, float] = {}
    for text, logprob in pairs:
        number = _NUMBERS.get(text.strip())
        if number is not None and logprob is not None and not math.isnan(logprob):
            probability = probabilities.get(number, 0.0) + math.exp(min(0.0, logprob))
            probabilities[number] = min(1.0, probability)
    return probabilities


def _without_start(tokens: Sequence[_Token], length: int) -> list[_Token]:
    """Return tokens without the first `length` characters that they spell."""
    kept, left = [], length
    for token in tokens:
        if left < len(token.text):
            kept.append(_Token(token.text[left:], token.alternatives))
        elif left == 0:
            kept.append(token)
        left = max(0, left - len(token.text))
    return kept


def _aligned(tokens: Sequence[_Token], text: str) -> Iterator[tuple[int, _Token]]:
    """Yield each token that is more than white space, with the offset of its first other character.

    After tokens without a text, the next one is searched for as far as they may reach. Where the
    tokens stop spelling the text, this ends.
    """
    place, hidden = 0, 0
    for index, token in enumerate(tokens):
        if not token.text:
            hidden += token.hides
            continue
        run = _run(tokens, index) if hidden else token.text
        start = _find(token.text, run, text, place, hidden)
        if start is None:
            if place == 0:  # a mark before the text, such as <s>
                continue
            return
        place, hidden = start + len(token.text), 0
        blanks = len(token.text) - len(token.text.lstrip())
        if blanks < len(token.text):
            yield start + blanks, token


def _run(tokens: Sequence[_Token], first: int) -> str:
    """Return what the next tokens spell, up to one without a text."""
    following = (token.text for token in tokens[first : first + _RUN])
    return "".join(takewhile(bool, following))


def _find(token: str, run: str, text: str, place: int, hidden: int) -> int | None:
    """Return the offset of a token that begins a run, at most `hidden` characters after a place."""
    for spelt in (run, token):
        start = text.find(spelt, place, place + hidden + len(spelt))
        if start >= 0:
            return start
    # Some tokenizers drop the space before a token that is decoded alone.
    has_space = place > 0 and text.startswith(" " + token, place)
    return place + 1 if has_space else None
