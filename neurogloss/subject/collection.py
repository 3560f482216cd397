"""One forward pass over excerpts that collects what the records of all layers may need.

Activations are rounded to float16, as they are stored, before anything is computed from them, so
that stored rows reproduce every score.
"""

import logging
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from transformers import GPT2Model

from neurogloss.neurons.records import IntArray
from neurogloss.neurons.selection import RecordCounts
from neurogloss.neurons.tiles import TILE
from neurogloss.subject.layer_collector import LayerCollector, LayerPart, LayerPlan
from neurogloss.subject.model import forward, mlp_width, on_activations

log = logging.getLogger(__name__)

MAX_TILES = 32  # at a time; more does not make a GPU faster


def collect(
    model: GPT2Model,
    tokens: IntArray,
    first: int,
    within: range,
    plans: Mapping[int, LayerPlan],
    counts: RecordCounts,
    *,
    lengths: IntArray | None = None,
    tiles: int | None = None,
    on_batch: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, LayerPart]]:
    """Read excerpts, and yield each layer with what was collected of it, computed on demand.

    The result has the same bits however the corpus is cut into ranges `within`. With another number
    of `tiles`, torch may choose another kernel, which can change the last bit of an activation. On
    the CPU, where `tiles` is 1, that cannot happen.

    Args:
        model: The subject.
        tokens: Whole tiles of excerpts, int32 (n, excerpt_tokens).
        first: The number of the first excerpt in `tokens`.
        within: The excerpts to keep.
        plans: What to keep, by layer.
        counts: How many records of each kind are to be selected in the end.
        lengths: Of the excerpts, int32 (n,), if some are shorter: what follows their end is padding
            and does not count. Attention is causal, so that no token before it sees it.
        tiles: How many tiles go through the model at once. By default 1 on the CPU, and on CUDA as
            many as its memory holds; halved as long as memory runs out.
        on_batch: Called before each batch; an exception that it raises ends the pass.
    """
    tiles = tiles or _tiles_at_once(model, tokens.shape[1])
    while True:
        try:
            collectors = _read(
                model, tokens, lengths, first, within, plans, counts, tiles, on_batch
            )
            break
        except torch.OutOfMemoryError:
            if tiles == 1:
                raise
            tiles //= 2
            log.warning("out of memory", extra={"excerpts_at_once_now": tiles * TILE})
        # Outside the except block, whose traceback would still refer to tensors of the pass.
        torch.cuda.empty_cache()
    return ((layer, collectors.pop(layer).part()) for layer in sorted(collectors))


def _read(
    model: GPT2Model,
    tokens: IntArray,
    lengths: IntArray | None,
    first: int,
    within: range,
    plans: Mapping[int, LayerPlan],
    counts: RecordCounts,
    tiles: int,
    on_batch: Callable[[], None],
) -> dict[int, LayerCollector]:
    collectors = {
        layer: LayerCollector(plan, counts, within, tokens.shape[1], model.device)
        for layer, plan in plans.items()
    }
    # Read by `keep`, which the model calls in the middle of each forward pass.
    batch_first = first
    padding: torch.Tensor | None = None

    def keep(layer: int, activations: torch.Tensor) -> None:
        collectors[layer].read(activations, batch_first, padding)

    with on_activations(model, sorted(collectors), keep):
        for start in range(0, len(tokens), tiles * TILE):
            on_batch()
            batch_first, batch = first + start, slice(start, start + tiles * TILE)
            if lengths is not None:
                padding = _padding(lengths[batch], tokens.shape[1], model.device)
            forward(model, tokens[batch])
    return collectors


def _padding(lengths: IntArray, n_tokens: int, device: torch.device) -> torch.Tensor:
    """Return which positions are after the end of their excerpt, bool (excerpt, position, 1)."""
    return torch.from_numpy(np.arange(n_tokens) >= lengths[:, None]).to(device)[:, :, None]


def _tiles_at_once(model: GPT2Model, n_tokens: int) -> int:
    if model.device.type != "cuda":
        return 1
    free, _ = torch.cuda.mem_get_info(model.device)
    # 32 bytes for each activation is a generous guess at what a pass takes; a quarter is used.
    per_tile = 32 * TILE * n_tokens * mlp_width(model)
    tiles = 1
    # Powers of two only: a pass that runs out of memory halves them, and few shapes have to be
    # tuned.
    while tiles < MAX_TILES and 4 * tiles * per_tile < free:
        tiles *= 2
    return tiles
