"""The tokenizer of a subject model, read without torch, and its vocabulary as text."""

import hashlib
import json
from collections.abc import Sequence

import numpy as np
from tokenizers import Tokenizer

from neurogloss.errors import InputError
from neurogloss.neurons.records import IntArray
from neurogloss.subject.files import model_file


def read_tokenizer(model: str) -> Tokenizer:
    """Return the tokenizer of a subject model.

    Raises:
        InputError: The model has no tokenizer.json that can be read.
    """
    path = model_file(model, "tokenizer.json")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise InputError(f"subject.model = {model!r}: {path} cannot be read: {error}") from error


def tokenize(tokenizer: Tokenizer, texts: Sequence[str], n_tokens: int) -> list[IntArray]:
    """Return the first `n_tokens` tokens of each text, int32 (n,); a text may have none."""
    encodings = tokenizer.encode_batch(list(texts), add_special_tokens=False)
    return [np.array(encoding.ids[:n_tokens], np.int32) for encoding in encodings]


def token_texts(tokenizer: Tokenizer, vocab_size: int) -> list[str]:
    """Return the text of each token by itself; part of a character reads as U+FFFD."""
    return [tokenizer.decode([token], skip_special_tokens=False) for token in range(vocab_size)]


def vocabulary_digest(texts: list[str]) -> str:
    """Return the SHA-256 of a vocabulary, in hexadecimal, by which it is stored once."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()
