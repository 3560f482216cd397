"""Token lookup tables of many neurons at once, computed without the records that are scored."""

from typing import NamedTuple

import numpy as np
import torch

from neurogloss.neurons.lookup import MIN_COUNT, top_tokens
from neurogloss.neurons.records import IntArray


class LookupTables(NamedTuple):
    """Mean activations by token, over all of the corpus but the records left out.

    `means` is float64 and `counts` int64, (n_neurons, vocabulary). The mean of a token that does
    not occur is 0. `default_means`, float64 (n_neurons,), are the means over all tokens.
    """

    means: torch.Tensor
    counts: torch.Tensor
    default_means: torch.Tensor


def tables_without(
    sums: torch.Tensor, counts: torch.Tensor, tokens: torch.Tensor, left_out: torch.Tensor
) -> LookupTables:
    """Return the lookup tables of some neurons.

    Args:
        sums: Sums of activations by token, float64 (vocabulary, n_neurons).
        counts: Occurrences of tokens, int64 (vocabulary,).
        tokens: The tokens of the records to leave out, int64 (n_neurons, n).
        left_out: Their activations, float64 of the same shape; NaN marks tokens to leave in.
    """
    present = left_out.isnan().logical_not()
    # Subtracted instead of summed anew without them: exact, since float64 holds these sums exactly
    # (see `TokenSums`).
    own_sums = sums.T.contiguous().scatter_add_(1, tokens, left_out.nan_to_num().neg())
    own_counts = counts.repeat(len(tokens), 1).scatter_add_(1, tokens, present.long().neg())
    means = torch.where(own_counts > 0, own_sums / own_counts, 0)
    return LookupTables(means, own_counts, own_sums.sum(1) / own_counts.sum(1).clamp(min=1))


def predictions(
    tables: LookupTables, tokens: torch.Tensor, listed: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the predicted activation of each token, float64 (n_neurons, n).

    Tokens that do not occur get the mean over all tokens.

    Args:
        tables: The lookup tables of n_neurons.
        tokens: int64 (n_neurons, n).
        listed: If given, the only tokens that get their own means, int64 (n_neurons, n_listed),
            with -1 as padding.
    """
    has_mean = tables.counts.gather(1, tokens) > 0
    if listed is not None:
        size = tables.counts.shape[1]
        in_list = has_mean.new_zeros((len(tokens), size + 1))  # the last column takes the padding
        in_list.scatter_(1, torch.where(listed < 0, size, listed), True)
        has_mean &= in_list.gather(1, tokens)
    return torch.where(has_mean, tables.means.gather(1, tokens), tables.default_means[:, None])


def top_of_tables(tables: LookupTables, n: int) -> list[IntArray]:
    """Return the same as `lookup.top_tokens` for each neuron."""
    # Only tokens above the n-th mean are sorted; where too few are common, one by one.
    common = torch.where(tables.counts >= MIN_COUNT, tables.means, -torch.inf)
    last = common.topk(min(n, common.shape[1]), dim=1).values[:, -1:]
    rows, tokens = ((common >= last) & common.isfinite()).nonzero(as_tuple=True)
    means = common[rows, tokens].cpu().numpy()
    row, token = rows.cpu().numpy(), tokens.cpu().numpy()
    order = np.lexsort((token, -means, row))
    ends = np.cumsum(np.bincount(row, minlength=len(common)))[:-1]
    return [
        best[:n] if len(best) >= n else _with_rare_tokens(tables, place, n)
        for place, best in enumerate(np.split(token[order], ends))
    ]


def _with_rare_tokens(tables: LookupTables, place: int, n: int) -> IntArray:
    return top_tokens(tables.means[place].cpu().numpy(), tables.counts[place].cpu().numpy(), n)
