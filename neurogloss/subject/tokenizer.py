"""The tokenizer of a subject model, read without torch, and its vocabulary as text."""

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from neurogloss.errors import InputError
from neurogloss.neurons.records import IntArray
from neurogloss.subject.files import local_folder, model_file

log = logging.getLogger(__name__)

FILE = "tokenizer.json"
_TWO_WORDS, _SPACE_AS_LETTER = "at the end", "\u0120"
_PIECES = 8  # of a text that is no single token, which a message names


def read_tokenizer(model: str) -> Tokenizer:
    """Return the tokenizer of a subject model, which takes a text as a whole and always alike.

    A tokenizer.json that was saved after training may hold settings of that training.

    Raises:
        InputError: The model has no tokenizer.json that can be read.
    """
    tokenizer = _read(model)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if _dropout(tokenizer):
        tokenizer.model.dropout = None
    return tokenizer


def tokenizer_for(model: str, vocab_size: int) -> Tokenizer:
    """Return the tokenizer of a subject model with so many rows in its embedding.

    Settings that are not applied are logged.

    Raises:
        InputError: There is no tokenizer.json that can be read, or it has a token without a row.
    """
    settings = _left_out(_read(model))
    if settings:
        fields = {"model": model, "settings": ", ".join(settings)}
        log.warning("settings of tokenizer not applied", extra=fields)
    tokenizer = read_tokenizer(model)
    _check_rows(model, tokenizer, vocab_size)
    _check_decoder(model, tokenizer)
    return tokenizer


def _read(model: str) -> Tokenizer:
    path = _tokenizer_file(model)
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise InputError(f"subject.model = {model!r}: {path} cannot be read: {error}") from error


def _tokenizer_file(model: str) -> Path:
    try:
        return model_file(model, FILE)
    except InputError as error:
        if (folder := local_folder(model)) is None:
            raise
        has_parts = all((folder / part).is_file() for part in ("vocab.json", "merges.txt"))
        source = str(folder) if has_parts else "gpt2"
        condition = "" if has_parts else ", if the model's vocabulary is that of gpt2"
        raise InputError(
            f"{error}. This makes one{condition}: "
            f"transformers.AutoTokenizer.from_pretrained({source!r}).save_pretrained({str(folder)!r})"
        ) from error


def _left_out(tokenizer: Tokenizer) -> list[str]:
    """Return the settings by which a text would be cut, filled up, or read at random."""
    settings = {"truncation": tokenizer.truncation, "padding": tokenizer.padding}
    return [name for name, value in settings.items() if value] + _dropout(tokenizer)


def _dropout(tokenizer: Tokenizer) -> list[str]:
    return ["dropout"] if getattr(tokenizer.model, "dropout", None) else []


def _check_rows(model: str, tokenizer: Tokenizer, vocab_size: int) -> None:
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    without = sorted((n, token) for token, n in vocabulary.items() if n >= vocab_size)
    if without:
        named = ", ".join(f"{token!r} (number {n})" for n, token in without[:3])
        more = f" and {len(without) - 3:,} more" if len(without) > 3 else ""
        raise InputError(
            f"subject.model = {model!r}: {FILE} has tokens without a row in the model's "
            f"embedding of {vocab_size:,} rows: {named}{more}. Remove them from {FILE}, or add "
            f"rows by resize_token_embeddings({without[-1][0] + 1}) and save the model"
        )


def _check_decoder(model: str, tokenizer: Tokenizer) -> None:
    """Check that tokens can be shown: GPT-2's vocabulary writes a space as the letter \u0120."""
    encoding = tokenizer.encode(_TWO_WORDS, add_special_tokens=False)
    if _SPACE_AS_LETTER in tokenizer.decode(encoding.ids):
        raise InputError(
            f"subject.model = {model!r}: {FILE} has no decoder, so that its tokens would be shown "
            f'as {_SPACE_AS_LETTER!r} and the like: set "decoder": {{"type": "ByteLevel"}} in it'
        )


def begin_of_text(tokenizer: Tokenizer) -> int:
    """Return the token <|endoftext|>, with which a document begins in the training of GPT-2.

    Raises:
        InputError: The tokenizer has no such token.
    """
    token = tokenizer.token_to_id("<|endoftext|>")
    if token is None:
        raise InputError(
            "corpus.begin_of_text = true needs <|endoftext|>, which the tokenizer.json of "
            "subject.model does not have: leave the key out"
        )
    return int(token)


def tokenize(tokenizer: Tokenizer, texts: Sequence[str], n_tokens: int) -> list[IntArray]:
    """Return the first `n_tokens` tokens of each text, int32 (n,); a text may have none."""
    encodings = tokenizer.encode_batch(list(texts), add_special_tokens=False)
    return [np.array(encoding.ids[:n_tokens], np.int32) for encoding in encodings]


def only_token(tokenizer: Tokenizer, text: str) -> int:
    """Return the one token that a text is.

    Raises:
        InputError: It is none, or several, which the message names.
    """
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    if len(ids) == 1:
        return int(ids[0])
    if not ids:
        raise InputError(f"{text!r} is no token")
    pieces = [repr(tokenizer.decode([token], skip_special_tokens=False)) for token in ids[:_PIECES]]
    more = ", ..." if len(ids) > _PIECES else ""
    raise InputError(f"{text!r} is {len(ids)} tokens, not one: {', '.join(pieces)}{more}")


def token_texts(tokenizer: Tokenizer, vocab_size: int) -> list[str]:
    """Return the text of each token by itself; part of a character reads as U+FFFD."""
    # Special tokens too, such as <|endoftext|>: a corpus may contain them.
    return [tokenizer.decode([token], skip_special_tokens=False) for token in range(vocab_size)]


def vocabulary_digest(texts: list[str]) -> str:
    """Return the SHA-256 of a vocabulary, in hexadecimal, by which it is stored once."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()
