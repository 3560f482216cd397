"""What is asked of a language model, and what comes back."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import orjson

CHARACTERS_PER_TOKEN = 4  # of English; tiktoken would need a download at start


@dataclass(frozen=True)
class Call:
    """One question.

    `sample` asks the same body once more, after a person's `retry`; `again` does so by itself,
    where the first answer could not be read.
    """

    purpose: str
    model: str
    body: Mapping[str, Any]
    path: str = "/chat/completions"
    sample: int = 0
    again: int = 0

    @cached_property
    def content(self) -> bytes:
        """The body as it is sent. Keys stay in order: a model fills a schema in that order."""
        return orjson.dumps(self.body)

    def identity(self, base_url: str) -> bytes:
        """Return the hash of everything that can change the answer."""
        place = f"{base_url.rstrip('/')}\n{self.path}\n{self.sample}\n{self.again}\n"
        return hashlib.sha256(place.encode() + self.content).digest()

    @cached_property
    def prompt_tokens(self) -> int:
        """An estimate from the length of the texts, as the limits of hosted APIs use too."""
        messages, prompt = self.body.get("messages"), self.body.get("prompt")
        texts = [message["content"] for message in messages] if messages else [prompt or ""]
        return math.ceil(sum(map(len, texts)) / CHARACTERS_PER_TOKEN)

    @property
    def max_completion_tokens(self) -> int:
        """What the answer may be long at most."""
        return int(self.body.get("max_completion_tokens") or self.body.get("max_tokens") or 0)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, as it is stored.

    `distributions` is what is kept of its log probabilities. `usd` is what an answer of use cost,
    `wasted_usd` what was paid for anything else. `reused` says that the answer was stored before it
    was asked for.
    """

    identity: bytes
    purpose: str
    endpoint: str
    model: str
    text: str
    finish_reason: str | None
    refusal: str | None
    distributions: bytes | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    usd: float
    wasted_usd: float
    attempts: int
    latency_ms: int
    request_id: str | None
    reused: bool = False


class Ledger(Protocol):
    """Where answers are kept. Called from threads."""

    def find(self, identities: Sequence[bytes]) -> dict[bytes, Answer]:
        """Return the answers that are stored."""

    def save(self, answers: Sequence[Answer]) -> None:
        """Store answers; they are committed when it returns."""
