"""Passes over a corpus that go on where the last one ended, by the residual stream that it left.

A pass over all layers may need more memory than there is, as for sums by token. Passes over a few
layers each would all begin at layer 0, and read layers again for half of the model on average. So
a pass keeps what enters its last layer, and the next one begins there. The bits are the same.
"""

import os
import shutil
import tempfile
from collections.abc import Hashable, Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO

import numpy as np
import torch
from transformers import GPT2Model

from neurogloss.subject.corpus_pass import batch_in_model


class ResidualStream:
    """The residual stream of a corpus where it enters a layer, in a temporary file.

    It is one of a process, and used by one thread.
    """

    def __init__(self) -> None:
        self._file: BinaryIO | None = None
        self._corpus: Hashable = None
        self._layer = 0  # that the stored stream enters

    def close(self) -> None:
        """Forget what is kept."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @contextmanager
    def passing(
        self,
        model: GPT2Model,
        corpus: Hashable,
        n_tokens: int,
        layers: range,
        *,
        is_last: bool = False,
    ) -> Iterator[None]:
        """Have the passes of `read_batches` in the block, over all of a corpus, begin late.

        They begin where the last block over the corpus ended, if that is before the layers. What
        they leave is kept, unless there is no room for it on the disk, or the block raises.

        Args:
            model: The subject.
            corpus: Names the corpus and the model.
            n_tokens: Of the corpus, with padding.
            layers: The layers whose activations are wanted.
            is_last: Whether no pass over later layers will come.
        """
        begins_at = self._layer if self._goes_on(corpus, layers) else 0
        if not begins_at:
            self.close()
            if not is_last:
                self._file = _file_for(n_tokens * model.config.n_embd * model.dtype.itemsize)
        # Nobody's during the block: what is read is overwritten, so that it is of two layers then.
        file, self._file = self._file, None
        if file is None:
            yield
            return
        with ExitStack() as on_error:
            on_error.callback(file.close)
            with _beginning_at(model, begins_at, file), _keeping(model, layers.stop - 1, file):
                yield
            if is_last:
                return
            on_error.pop_all()
        self._file, self._corpus, self._layer = file, corpus, layers.stop - 1

    def _goes_on(self, corpus: Hashable, layers: range) -> bool:
        is_there = self._file is not None and self._corpus == corpus
        return is_there and self._layer <= layers.start


@contextmanager
def _beginning_at(model: GPT2Model, layer: int, file: BinaryIO) -> Iterator[None]:
    """Let passes begin at a layer, from the stored output of the layers before it."""
    if layer == 0:
        yield
        return

    def enter(block: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[object, ...]:
        stored = torch.empty(inputs[0].shape, dtype=inputs[0].dtype)
        os.preadv(file.fileno(), [_bytes_of(stored).data], _place_of(stored))
        return stored.to(inputs[0].device), *inputs[1:]

    handle = model.h[layer].register_forward_pre_hook(enter)
    left_out = list(model.h)[:layer]
    for block in left_out:
        block.forward = _unchanged
    try:
        yield
    finally:
        handle.remove()
        for block in left_out:
            del block.forward


def _unchanged(stream: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
    return stream


@contextmanager
def _keeping(model: GPT2Model, layer: int, file: BinaryIO) -> Iterator[None]:
    """Store what enters a layer."""

    def keep(norm: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        os.pwrite(file.fileno(), _bytes_of(inputs[0]).data, _place_of(inputs[0]))

    handle = model.get_submodule(f"h.{layer}.ln_1").register_forward_pre_hook(keep)
    try:
        yield
    finally:
        handle.remove()


def _place_of(stream: torch.Tensor) -> int:
    """Return where the stream of the batch that goes through the model is in the file."""
    batch = batch_in_model()
    first: int = batch.first - batch.rows.start  # a batch on a GPU may begin before what is read
    return first * (stream.nbytes // len(stream))


def _bytes_of(stream: torch.Tensor) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    # As bytes, because numpy has no bfloat16.
    return stream.contiguous().cpu().view(torch.uint8).numpy().reshape(-1)


def _file_for(n_bytes: int) -> BinaryIO | None:
    """Return an empty file without a name; None where it could fill half of the free space."""
    if 2 * n_bytes > shutil.disk_usage(tempfile.gettempdir()).free:
        return None
    # Without a name: it is gone with the process, however that ends.
    return tempfile.TemporaryFile()
