"""Made-up activations of a neuron, drawn from each token."""

import re
from collections.abc import Sequence
from functools import lru_cache

from rehearsal.seeded_random import draw, uniform

ZERO_SHARE = 0.7  # of tokens that get the lowest level
_MAX_CACHED_TOKENS = 65_536  # more than GPT-2's vocabulary has
_POSITION_LINE = re.compile(r"^[ \t]*(\d+):[ \t]?(.*)$", re.MULTILINE)


def shown_texts(text: str) -> list[dict[str, str]]:
    """Return the texts in a prompt, whose lines are "position: token".

    Each text is a mapping from position, as it is written, to token. A position that occurs again
    begins the next text.
    """
    texts: list[dict[str, str]] = []
    for position, token in _POSITION_LINE.findall(text):
        if not texts or position in texts[-1]:
            texts.append({})
        texts[-1][position] = token
    return texts


def last_token(text: str) -> str | None:
    """Return the token of the last line if that is "position: token", else None."""
    match = _POSITION_LINE.fullmatch(text.rpartition("\n")[2])
    return match[2] if match else None


def activation(seed: int, token: str, levels: tuple[int, ...]) -> int:
    """Return the level of a token: the lowest for 70 % of tokens, any other for the rest.

    Args:
        seed: The server's seed.
        token: Any text; the same text always has the same level.
        levels: The levels to choose from, ascending.
    """
    return _levels_by_token(seed, levels)[token]


@lru_cache(maxsize=16)
def _levels_by_token(seed: int, levels: tuple[int, ...]) -> "_LevelsByToken":
    return _LevelsByToken(seed, levels)


# A dictionary with `__missing__`: looking up a token that it has needs no call of Python code.
class _LevelsByToken(dict[str, int]):
    """Level of each token, drawn when it is first looked up."""

    def __init__(self, seed: int, levels: tuple[int, ...]) -> None:
        super().__init__()
        self._seed, self._levels = seed, levels

    def __missing__(self, token: str) -> int:
        if len(self) >= _MAX_CACHED_TOKENS:
            # Which entries go does not matter: a level depends on the token alone and is drawn
            # again.
            self.clear()
        self[token] = level = self._draw(token)
        return level

    def _draw(self, token: str) -> int:
        levels = self._levels
        if len(levels) == 1 or uniform(self._seed, "zero", token) < ZERO_SHARE:
            return levels[0]
        return levels[1 + draw(self._seed, "level", token) % (len(levels) - 1)]


def activations(seed: int, tokens: Sequence[str], levels: tuple[int, ...]) -> list[int]:
    """Return the levels of tokens; they differ if there are several tokens and several levels."""
    level_of = _levels_by_token(seed, levels)
    values = [level_of[token] for token in tokens]
    if len(set(values)) > 1 or len(values) < 2 or len(levels) < 2:
        return values
    # A constant simulation has no correlation with anything, so one token has to stand out.
    return _with_one_token_apart(seed, tokens, values, levels)


def _with_one_token_apart(
    seed: int, tokens: Sequence[str], values: list[int], levels: tuple[int, ...]
) -> list[int]:
    others = [level for level in levels if level != values[0]]
    apart = min(tokens, key=lambda token: draw(seed, "apart", token))
    other = others[draw(seed, "other", apart) % len(others)]
    if all(token == apart for token in tokens):
        return [other, *values[1:]]
    pairs = zip(tokens, values, strict=True)
    return [other if token == apart else value for token, value in pairs]
