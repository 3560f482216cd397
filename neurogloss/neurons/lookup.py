"""The token lookup table: predicts a neuron's activation from the token alone, without an LLM.

The strongest baseline of the paper (#sec-baselines): the mean activation on each token, taken over
excerpts on which the neuron is not scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurogloss.neurons.records import FloatArray, IntArray

TOP_TOKENS = 50  # length of a neuron's list of the tokens of highest mean
EXPLANATION_TOKENS = 10  # that the explanation of the baseline names
MIN_COUNT = 3  # tokens with fewer occurrences come last in the list: their means are chance


@dataclass(frozen=True, slots=True)
class LookupTable:
    """Mean activation by token: `tokens` int (n,), ascending, and `means` of the same shape.

    Tokens that are not in the table get `default_mean`, the mean over all tokens.
    """

    tokens: IntArray
    means: FloatArray
    default_mean: float


def simulate_by_lookup(table: LookupTable, token_ids: IntArray) -> FloatArray:
    """Return each token's mean activation, in the shape of `token_ids`."""
    if not len(table.tokens):
        return np.full(token_ids.shape, table.default_mean)
    place = np.minimum(np.searchsorted(table.tokens, token_ids), len(table.tokens) - 1)
    is_in_table = table.tokens[place] == token_ids
    return np.where(is_in_table, table.means[place], table.default_mean)


def top_tokens(means: FloatArray, counts: IntArray, n: int) -> IntArray:
    """Return the tokens of highest mean; rare tokens come last, and ties go to the lower token id.

    Args:
        means: Mean activation by token, (vocabulary,).
        counts: Occurrences of each token, of the same shape. Tokens that never occur are left out.
        n: The largest number of tokens to return.
    """
    # lexsort's last key comes first: rare tokens last, then by mean, then by token.
    order = np.lexsort((np.arange(len(means)), -means, counts < MIN_COUNT))
    return order[counts[order] > 0][:n]


def explain_by_lookup(token_texts: Sequence[str], means: Sequence[float]) -> str:
    """Return an explanation of one line: the tokens in the given order, with their means."""
    entries = (f"{quoted(t)} ({m:.2f})" for t, m in zip(token_texts, means, strict=True))
    return f"tokens: {', '.join(entries)}"


def quoted(token: str) -> str:
    """Return a token in double quotes, with unprintable characters escaped."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in token)
    return f'"{shown}"'
