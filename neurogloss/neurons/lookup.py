"""The token lookup table: a neuron explained by single tokens, without any language model.

The strongest baseline of the paper (#sec-baselines): the mean activation on each token, taken over
excerpts on which the neuron is not scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurogloss.neurons.records import FloatArray, IntArray

TOP_TOKENS = 50  # of the highest mean, in the list of a neuron
EXPLANATION_TOKENS = 10
MIN_COUNT = 3  # a mean over fewer occurrences is chance


@dataclass(frozen=True, slots=True)
class LookupTable:
    """Mean activation by token: `tokens` sorted, `means` of the same shape (n,).

    `default_mean`, over all tokens, is what a token that is not in the table gets.
    """

    tokens: IntArray
    means: FloatArray
    default_mean: float


def simulate_by_lookup(table: LookupTable, token_ids: IntArray) -> FloatArray:
    """Return each token's mean activation, in the shape of `token_ids`."""
    if not len(table.tokens):
        return np.full(token_ids.shape, table.default_mean)
    place = np.searchsorted(table.tokens, token_ids).clip(max=len(table.tokens) - 1)
    known = table.tokens[place] == token_ids
    return np.where(known, table.means[place], table.default_mean)


def top_tokens(means: FloatArray, counts: IntArray, n: int) -> IntArray:
    """Return the tokens of the highest mean, ties to the lower token; rare tokens come last.

    Args:
        means: Of shape (n_tokens,), by token.
        counts: Occurrences behind each mean.
        n: How many; fewer where fewer tokens occur.
    """
    order = np.lexsort((np.arange(len(means)), -means, counts < MIN_COUNT))
    return order[counts[order] > 0][:n]


def explain_by_lookup(token_texts: Sequence[str], means: Sequence[float]) -> str:
    """Return one line that names the tokens, strongest first, with their mean activation."""
    named = (f"{quoted(t)} ({m:.2f})" for t, m in zip(token_texts, means, strict=True))
    return f"tokens: {', '.join(named)}"


def quoted(token: str) -> str:
    """Return a token in quotes, with control characters as escapes."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in token)
    return f'"{shown}"'
