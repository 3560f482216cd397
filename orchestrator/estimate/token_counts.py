"""Counting the tokens of prompts without asking anyone, as well as this machine can."""

import hashlib
import importlib.util
import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer

from neurogloss.llm.calls import CHARACTERS_PER_TOKEN, Call

LEAST_VOCABULARY = 30_000  # of a tokenizer that cuts text much as those of language models do
_ENCODING = "o200k_base"
_ENCODING_URL = f"https://openaipublic.blob.core.windows.net/encodings/{_ENCODING}.tiktoken"
_PER_MESSAGE = 4  # the marks around each message of a chat


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """Counts tokens of a text; `method` says how."""

    method: str
    count: Callable[[str], int]

    def of_call(self, call: Call) -> int:
        """Return the tokens of a call's prompt."""
        return sum(count for _, count in self.parts(call))

    def parts(self, call: Call) -> list[tuple[str, int]]:
        """Return the texts of a call's prompt with their tokens."""
        if "prompt" in call.body:
            return [(call.body["prompt"], self.count(call.body["prompt"]))]
        texts = [message["content"] for message in call.body["messages"]]
        return [(text, self.count(text) + _PER_MESSAGE) for text in texts]


def find_counter(subject: Tokenizer) -> TokenCounter:
    """Return the best counter at hand: tiktoken, the subject's tokenizer, a rule of thumb.

    tiktoken is taken where it is installed and its vocabulary is on this machine: it would download
    it otherwise.
    """
    if importlib.util.find_spec("tiktoken") is not None and _vocabulary_is_here():
        import tiktoken

        encoding = tiktoken.get_encoding(_ENCODING)
        return _cached(
            f"tiktoken, {_ENCODING}", lambda t: len(encoding.encode(t, disallowed_special=()))
        )
    if subject.get_vocab_size() >= LEAST_VOCABULARY:
        return _cached(
            "the subject model's tokenizer",
            lambda text: len(subject.encode(text, add_special_tokens=False).ids),
        )
    return _cached(
        f"characters / {CHARACTERS_PER_TOKEN}, which finds too few in lists of tokens",
        lambda text: math.ceil(len(text) / CHARACTERS_PER_TOKEN),
    )


def _cached(method: str, count: Callable[[str], int]) -> TokenCounter:
    return TokenCounter(method, lru_cache(maxsize=4096)(count))


def _vocabulary_is_here() -> bool:
    """Whether tiktoken's cache holds the file, where tiktoken looks for it."""
    named = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    folder = Path(named) if named else Path(tempfile.gettempdir()) / "data-gym-cache"
    return (folder / hashlib.sha1(_ENCODING_URL.encode()).hexdigest()).is_file()
