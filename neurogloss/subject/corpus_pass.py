"""Many batches of a corpus through the subject model, on the CPU several at a time.

On the CPU the products of a forward pass use all cores by themselves; what is done with the
activations between them mostly uses one. So each batch has a thread with a share of the cores.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from transformers import GPT2Model

from neurogloss.subject.batches import ModelBatch
from neurogloss.subject.core_threads import core_threads, n_threads
from neurogloss.subject.model import forward, on_activations
from neurogloss.subject.onednn import packed_weights

Keep = Callable[[ModelBatch, int, torch.Tensor], None]

_batch: ContextVar[ModelBatch] = ContextVar("batch")


def batch_in_model() -> ModelBatch:
    """Return the batch that goes through the model in this thread, for hooks of the model."""
    return _batch.get()


def read_batches(
    model: GPT2Model,
    layers: Sequence[int],
    batches: Sequence[ModelBatch],
    keep: Keep,
    on_layer: Callable[[], None],
) -> None:
    """Run batches through the model, and call `keep(batch, layer, activations)` for the layers.

    Args:
        model: The subject.
        layers: Whose activations are wanted.
        batches: Of excerpts.
        keep: Gets activations (batch, position, d_mlp) on the model's device. On the CPU it is
            called from several threads, in any order of the batches.
        on_layer: Called after each layer of each batch, on the CPU from several threads; an
            exception that it raises ends the pass.
    """

    def read(batch: ModelBatch) -> None:
        _batch.set(batch)
        forward(model, batch.tokens)

    def hand_over(layer: int, activations: torch.Tensor) -> None:
        keep(batch_in_model(), layer, activations)
        on_layer()

    with (
        on_activations(model, list(layers), hand_over),
        packed_weights(model),
        _mapping(model.device) as mapped,
    ):
        list(mapped(read, batches))


@contextmanager
def _mapping(device: torch.device) -> Iterator[Callable[..., Iterator[None]]]:
    """Return what `map` does: in threads on a CPU of several cores, else in this one."""
    if n_threads(device) == 1:
        yield map
        return
    with core_threads(device) as threads:
        yield threads.map
