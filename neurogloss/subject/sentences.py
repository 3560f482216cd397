"""What single neurons do on sentences of their own, as the subject model reads them."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import GPT2Model
from transformers.utils.hub import cached_file

from neurogloss.errors import CannotCollect
from neurogloss.neurons.records import FloatArray, IntArray
from neurogloss.neurons.tiles import TILE
from neurogloss.subject.model import DEMO_FOLDER, forward, on_activations


def load_tokenizer(model: str) -> Tokenizer:
    """Load the tokenizer of a subject model.

    Raises:
        CannotCollect: There is no tokenizer.json that can be read.
    """
    try:
        path = cached_file(DEMO_FOLDER if model == "demo" else model, "tokenizer.json")
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise CannotCollect(f"subject.model = {model!r} has no tokenizer.json: {error}") from error


def tokens_of(tokenizer: Tokenizer, texts: Sequence[str], n_tokens: int) -> list[IntArray]:
    """Return the first `n_tokens` tokens of each text, int32 (n,); of some texts there are none."""
    encoded = tokenizer.encode_batch(list(texts), add_special_tokens=False)
    return [np.array(found.ids[:n_tokens], np.int32) for found in encoded]


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

    Sentences go through the model as tiles of excerpts do when they are collected, filled up to
    their shape: what they are computed with does not change a bit. What is not finite counts as 0,
    as it does there.

    Args:
        model: The subject.
        layer: The neurons' layer.
        sentences: Tokens, int32 (n,) with 1 <= n <= n_tokens.
        neurons: Whose activations are wanted on each of them.
        n_tokens: Of an excerpt.
        on_batch: Called before each tile; what it raises ends the reading.
    """
    found: list[FloatArray] = []
    columns = torch.zeros(0, dtype=torch.int64)

    def keep(_: int, activations: torch.Tensor) -> None:
        rows = torch.arange(len(columns), device=activations.device)
        rounded = activations[rows, :, columns.to(activations.device)].to(torch.float16)
        found.extend(rounded.masked_fill(~rounded.isfinite(), 0).cpu().numpy())

    with on_activations(model, [layer], keep):
        for start in range(0, len(sentences), TILE):
            on_batch()
            some = sentences[start : start + TILE]
            columns = torch.tensor(neurons[start : start + TILE])
            forward(model, _tile(some, n_tokens))
    return [values[: len(read)] for values, read in zip(found, sentences, strict=True)]


def _tile(sentences: Sequence[IntArray], n_tokens: int) -> IntArray:
    """Return sentences as excerpts, int32 (TILE, n_tokens): what is filled in comes after them."""
    tile = np.zeros((TILE, n_tokens), np.int32)
    for row, sentence in zip(tile, sentences, strict=False):
        row[: len(sentence)] = sentence
    return tile
