"""Batches: the excerpts that go through the subject model at once.

On a GPU an activation may depend on the size of its batch, in the last bit. So all batches have
one size, whatever the card, unless its memory is too small; and each begins at a multiple of it,
counted from excerpt 0: an excerpt is in the same place of the same batch, whatever its shard. What
a shard does not have of a batch is padding, whose results are dropped.

On the CPU a batch is a tile, and the last one of a corpus may be shorter.
"""

import logging
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from transformers import GPT2Model

from neurogloss.neurons.records import IntArray
from neurogloss.neurons.tiles import TILE

log = logging.getLogger(__name__)

# In a batch on CUDA: with GPT-2 XL in float32, half of them take 5 % longer on an H100.
CUDA_TOKENS = 32_768
CUDA_EXCERPTS = 512  # as in a shard by default: a larger batch would mostly be padding

_halvings: MutableMapping[GPT2Model, int] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class ModelBatch:
    """Tokens that go through the model at once, int32 (n, excerpt_tokens).

    Of them only `rows` were asked for; `first` is the excerpt in the first of these rows, and
    `place` its place among all that were asked for.
    """

    tokens: IntArray
    rows: slice
    first: int
    place: int

    def part_of(self, values: IntArray) -> IntArray:
        """Return the part of values, one for each excerpt asked for, that belongs to `rows`."""
        return values[self.place : self.place + self.rows.stop - self.rows.start]


def batch_size(device: torch.device, n_tokens: int) -> int:
    """Return how many excerpts of a length go through the model at once: whole tiles."""
    size = TILE
    while device.type == "cuda" and 2 * size * n_tokens <= CUDA_TOKENS and size < CUDA_EXCERPTS:
        size *= 2
    return size


def fitting_size(model: GPT2Model, size: int) -> int:
    """Return the size of a batch, halved as often as memory has run out since the model was loaded.

    Batches stay smaller, because to run out of memory again and again would take time.
    """
    return max(TILE, (size >> _halvings.get(model, 0)) // TILE * TILE)


def batches_for(model: GPT2Model, tokens: IntArray, first: int) -> Iterator[ModelBatch]:
    """Cut excerpts from number `first` on into the batches that a model reads on its device."""
    size = fitting_size(model, batch_size(model.device, tokens.shape[1]))
    return batches(tokens, first, size, padded=model.device.type == "cuda")


def halve_batches(model: GPT2Model, size: int) -> bool:
    """Halve the batches of a model while it is loaded; return False if they cannot be halved."""
    before = fitting_size(model, size)
    if before == TILE:
        return False
    _halvings[model] = _halvings.get(model, 0) + 1
    # Logged because activations may now differ in the last bit from those of other workers.
    log.warning("out of memory", extra={"excerpts_at_once_now": fitting_size(model, size)})
    return True


def batches(tokens: IntArray, first: int, size: int, *, padded: bool) -> Iterator[ModelBatch]:
    """Cut excerpts into batches.

    Args:
        tokens: int32 (n, excerpt_tokens).
        first: The number of the first excerpt in `tokens`.
        size: Of a batch.
        padded: Whether all batches have this size, or those at the ends may be shorter.
    """
    stop = first + len(tokens)
    for start in range(first // size * size, stop, size):
        begin, end = max(start, first), min(start + size, stop)
        found = tokens[begin - first : end - first]
        if padded and len(found) < size:
            whole = np.zeros((size, tokens.shape[1]), tokens.dtype)
            whole[begin - start : end - start] = found
            yield ModelBatch(whole, slice(begin - start, end - start), begin, begin - first)
        else:
            yield ModelBatch(found, slice(0, len(found)), begin, begin - first)
