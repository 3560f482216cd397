"""One forward pass over excerpts that collects what the records of all layers may need.

Activations are rounded to float16, as they are stored, before anything is computed from them, so
that stored rows reproduce every score.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from transformers import GPT2Model

from neurogloss.neurons.records import IntArray
from neurogloss.neurons.selection import RecordCounts
from neurogloss.subject.batches import ModelBatch, batch_size, batches, fitting_size, halve_batches
from neurogloss.subject.corpus_pass import read_batches
from neurogloss.subject.layer_collector import LayerCollector, LayerPart, LayerPlan


def collect(
    model: GPT2Model,
    tokens: IntArray,
    first: int,
    within: range,
    plans: Mapping[int, LayerPlan],
    counts: RecordCounts,
    *,
    lengths: IntArray | None = None,
    at_once: int | None = None,
    on_layer: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, LayerPart]]:
    """Read excerpts, and yield each layer with what was collected of it, computed on demand.

    The result has the same bits however the corpus is cut into ranges `within`.

    Args:
        model: The subject.
        tokens: Whole tiles of excerpts, int32 (n, excerpt_tokens).
        first: The number of the first excerpt in `tokens`.
        within: The excerpts to keep.
        plans: What to keep, by layer.
        counts: How many records of each kind are to be selected in the end.
        lengths: Of the excerpts, int32 (n,), if some are shorter: what follows their end is padding
            and does not count. Attention is causal, so that no token before it sees it.
        at_once: How many excerpts go through the model in each batch, in place of as many as
            `batch_size` says. Another number may change the last bit of an activation; so does the
            half of it, which is taken as long as memory runs out.
        on_layer: Called after each layer of each batch, on the CPU from several threads; an
            exception that it raises ends the pass.
    """
    whole = at_once or batch_size(model.device, tokens.shape[1])
    padded = at_once is not None or model.device.type == "cuda"
    while True:
        cut = list(batches(tokens, first, fitting_size(model, whole), padded=padded))
        try:
            collectors = _read(model, cut, lengths, within, plans, counts, on_layer)
            break
        except torch.OutOfMemoryError:
            if not halve_batches(model, whole):
                raise
        # Outside the except block, whose traceback would still refer to tensors of the pass.
        torch.cuda.empty_cache()
    return ((layer, collectors.pop(layer).part()) for layer in sorted(collectors))


def _read(
    model: GPT2Model,
    cut: Sequence[ModelBatch],
    lengths: IntArray | None,
    within: range,
    plans: Mapping[int, LayerPlan],
    counts: RecordCounts,
    on_layer: Callable[[], None],
) -> dict[int, LayerCollector]:
    n_tokens = cut[0].tokens.shape[1]
    collectors = {
        layer: LayerCollector(plan, counts, within, n_tokens, model.device)
        for layer, plan in plans.items()
    }

    paddings = {}
    if lengths is not None:
        paddings = {b.first: _padding(b.part_of(lengths), n_tokens, model.device) for b in cut}

    def keep(batch: ModelBatch, layer: int, activations: torch.Tensor) -> None:
        padding = paddings.get(batch.first)
        collectors[layer].read(activations[batch.rows], batch.first, padding)

    read_batches(model, sorted(collectors), cut, keep, on_layer)
    return collectors


def _padding(lengths: IntArray, n_tokens: int, device: torch.device) -> torch.Tensor:
    """Return which positions are after the end of their excerpt, bool (excerpt, position, 1)."""
    return torch.from_numpy(np.arange(n_tokens) >= lengths[:, None]).to(device)[:, :, None]
