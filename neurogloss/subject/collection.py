"""One pass over excerpts that leaves all that the neurons' records may need.

Activations are rounded to float16, as stored, before anything is read from them.
"""

import logging
from collections.abc import Callable, Iterator, Mapping

import torch
from transformers import GPT2Model

from neurogloss.neurons.records import IntArray
from neurogloss.neurons.selection import RecordCounts
from neurogloss.neurons.tiles import TILE
from neurogloss.subject.layer_collector import LayerCollector, LayerPart, LayerPlan
from neurogloss.subject.model import forward, mlp_width, on_activations

log = logging.getLogger(__name__)

MAX_TILES = 32  # at once; more does not make a GPU faster


def collect(
    model: GPT2Model,
    tokens: IntArray,
    first: int,
    within: range,
    plans: Mapping[int, LayerPlan],
    wanted: RecordCounts,
    *,
    tiles: int | None = None,
    on_batch: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, LayerPart]]:
    """Read excerpts; return, layer by layer, what they leave, made as it is asked for.

    The result has the same bits however the corpus is cut into ranges `within`. Where `tiles`
    differs, kernels of another shape may be chosen, and change the last bit of an activation; on
    the CPU, where it is always 1, that cannot happen.

    Args:
        model: The subject.
        tokens: int32 of shape (n, excerpt_tokens): whole tiles, from excerpt `first` on.
        first: The number of the first excerpt.
        within: The excerpts that are asked for.
        plans: By layer.
        wanted: How many records of each kind.
        tiles: How many go through the model at once. By default 1 on the CPU, and on CUDA what its
            memory holds; halved where that proves too much.
        on_batch: Called before each batch; what it raises ends the pass.
    """
    tiles = tiles or _tiles_at_once(model, tokens.shape[1])
    while True:
        try:
            readers = _read(model, tokens, first, within, plans, wanted, tiles, on_batch)
            break
        except torch.OutOfMemoryError:
            if tiles == 1:
                raise
            tiles //= 2
            log.warning("out of memory: reading %d excerpts at once from now on", tiles * TILE)
        torch.cuda.empty_cache()
    return ((layer, readers.pop(layer).part()) for layer in sorted(readers))


def _read(
    model: GPT2Model,
    tokens: IntArray,
    first: int,
    within: range,
    plans: Mapping[int, LayerPlan],
    wanted: RecordCounts,
    tiles: int,
    on_batch: Callable[[], None],
) -> dict[int, LayerCollector]:
    readers = {
        layer: LayerCollector(plan, wanted, within, tokens.shape[1], model.device)
        for layer, plan in plans.items()
    }
    at = first

    def keep(layer: int, activations: torch.Tensor) -> None:
        readers[layer].read(activations, at)

    with on_activations(model, sorted(readers), keep):
        for start in range(0, len(tokens), tiles * TILE):
            on_batch()
            at = first + start
            forward(model, tokens[start : start + tiles * TILE])
    return readers


def _tiles_at_once(model: GPT2Model, n_tokens: int) -> int:
    if model.device.type != "cuda":
        return 1
    free, _ = torch.cuda.mem_get_info(model.device)
    per_tile = 32 * TILE * n_tokens * mlp_width(model)  # bytes; a generous guess
    tiles = 1
    while tiles < MAX_TILES and 4 * tiles * per_tile < free:
        tiles *= 2
    return tiles
