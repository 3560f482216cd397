"""Token lookup tables of many neurons at once, less the records on which they are scored."""

from typing import NamedTuple

import numpy as np
import torch

from neurogloss.neurons.lookup import MIN_COUNT, top_tokens
from neurogloss.neurons.records import IntArray


class LookupTables(NamedTuple):
    """Mean activations by token, over all but the records that were left out.

    `means` is float64 and `counts` int64, (n_neurons, vocabulary); a mean is 0 where a token does
    not occur. `default_means`, float64 (n_neurons,), are over all tokens.
    """

    means: torch.Tensor
    counts: torch.Tensor
    default_means: torch.Tensor


def tables_without(
    sums: torch.Tensor, counts: torch.Tensor, tokens: torch.Tensor, left_out: torch.Tensor
) -> LookupTables:
    """Return the lookup tables of some neurons.

    Args:
        sums: Of activations, float64 (vocabulary, n_neurons).
        counts: Of tokens, int64 (vocabulary,).
        tokens: int64 (n_neurons, n), the tokens of the records to leave out.
        left_out: float64 of that shape: their activations, NaN for those to leave in.
    """
    present = left_out.isnan().logical_not()
    own_sums = sums.T.contiguous().scatter_add_(1, tokens, left_out.nan_to_num().neg())
    own_counts = counts.repeat(len(tokens), 1).scatter_add_(1, tokens, present.long().neg())
    means = torch.where(own_counts > 0, own_sums / own_counts, 0)
    return LookupTables(means, own_counts, own_sums.sum(1) / own_counts.sum(1).clamp(min=1))


def predictions(
    tables: LookupTables, tokens: torch.Tensor, listed: torch.Tensor | None = None
) -> torch.Tensor:
    """Return what the tables expect of tokens, float64 in their shape, (n_neurons, n).

    A token that does not occur gets the mean over all tokens. So does one that is not `listed`,
    int64 (n_neurons, n_listed), if that is given; -1 in it lists nothing.
    """
    known = tables.counts.gather(1, tokens) > 0
    if listed is not None:
        size = tables.counts.shape[1]
        in_list = known.new_zeros((len(tokens), size + 1))  # the last column takes the -1
        in_list.scatter_(1, torch.where(listed < 0, size, listed), True)
        known &= in_list.gather(1, tokens)
    return torch.where(known, tables.means.gather(1, tokens), tables.default_means[:, None])


def top_of_tables(tables: LookupTables, n: int) -> list[IntArray]:
    """Return for each neuron what `lookup.top_tokens` does."""
    common = torch.where(tables.counts >= MIN_COUNT, tables.means, -torch.inf)
    last = common.topk(min(n, common.shape[1]), dim=1).values[:, -1:]
    rows, tokens = ((common >= last) & common.isfinite()).nonzero(as_tuple=True)
    means = common[rows, tokens].cpu().numpy()
    row, token = rows.cpu().numpy(), tokens.cpu().numpy()
    order = np.lexsort((token, -means, row))
    found = np.split(token[order], np.cumsum(np.bincount(row, minlength=len(common)))[:-1])
    return [
        best[:n] if len(best) >= n else _with_rare_ones(tables, place, n)
        for place, best in enumerate(found)
    ]


def _with_rare_ones(tables: LookupTables, place: int, n: int) -> IntArray:
    return top_tokens(tables.means[place].cpu().numpy(), tables.counts[place].cpu().numpy(), n)
