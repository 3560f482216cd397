"""Activations of single neurons on test sentences, one neuron for each sentence."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import GPT2Model

from neurogloss.errors import CannotCollect, InputError
from neurogloss.neurons.records import FloatArray, IntArray
from neurogloss.subject.batches import batch_size, fitting_size
from neurogloss.subject.model import forward, on_activations
from neurogloss.subject.tokenizer import read_tokenizer


def load_tokenizer(model: str) -> Tokenizer:
    """Load the tokenizer of a subject model, in a worker.

    Raises:
        CannotCollect: The model has no tokenizer.json that can be read.
    """
    try:
        return read_tokenizer(model)
    except InputError as error:  # the run pauses, as it does where the model cannot be loaded
        raise CannotCollect(str(error)) from error


def sentence_activations(
    model: GPT2Model,
    layer: int,
    sentences: Sequence[IntArray],
    neurons: Sequence[int],
    n_tokens: int,
    *,
    on_batch: Callable[[], None] = lambda: None,
) -> list[FloatArray]:
    """Return the activations of one neuron of a layer on each sentence, float16 (n,).

    Sentences are padded to the shape of a batch of excerpts, so that activations have the same bits
    as those that are collected from the corpus. As there, infinities and NaN become 0.

    Args:
        model: The subject.
        layer: The neurons' layer.
        sentences: Tokens, int32 (n,) with 1 <= n <= n_tokens.
        neurons: For each sentence, the index of the neuron.
        n_tokens: The length of an excerpt.
        on_batch: Called before each batch; an exception that it raises ends the pass.
    """
    padded: list[FloatArray] = []  # of each sentence, float16 (n_tokens,)
    columns = torch.zeros(0, dtype=torch.int64)
    size = fitting_size(model, batch_size(model.device, n_tokens))

    def keep(_: int, activations: torch.Tensor) -> None:
        rows = torch.arange(len(columns), device=activations.device)
        rounded = activations[rows, :, columns.to(activations.device)].to(torch.float16)
        padded.extend(rounded.masked_fill(~rounded.isfinite(), 0).cpu().numpy())

    with on_activations(model, [layer], keep):
        for start in range(0, len(sentences), size):
            on_batch()
            batch = slice(start, start + size)
            columns = torch.tensor(neurons[batch])
            forward(model, _whole(sentences[batch], size, n_tokens))
    return [values[: len(tokens)] for values, tokens in zip(padded, sentences, strict=True)]


def _whole(sentences: Sequence[IntArray], size: int, n_tokens: int) -> IntArray:
    """Return sentences as one batch, int32 (size, n_tokens).

    The padding comes last: attention is causal, so that it does not change what stands before it.
    """
    # Always a whole batch: floating-point results may depend on its shape.
    batch = np.zeros((size, n_tokens), np.int32)
    for row, sentence in zip(batch, sentences, strict=False):
        row[: len(sentence)] = sentence
    return batch
