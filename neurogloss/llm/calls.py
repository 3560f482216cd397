"""Calls to a language model, their answers, and the ledger that keeps the answers."""

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import orjson

from neurogloss.errors import Refused, RowError, Truncated
from neurogloss.neurons.reasoning import without_reasoning

# For English. An exact count needs the tokenizer of each model, which is a download at start.
CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Call:
    """One request to a model.

    Two numbers tell repetitions of one body apart: `sample` counts how often a person asked for
    another answer by `retry`; `again` is 1 for the one repetition that follows an answer which
    could not be parsed.
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
        """Return the SHA-256 of everything that can change the answer."""
        place = f"{base_url.rstrip('/')}\n{self.path}\n{self.sample}\n{self.again}\n"
        return hashlib.sha256(place.encode() + self.content).digest()

    @cached_property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt, estimated from its characters, as hosted APIs do for limits."""
        messages, prompt = self.body.get("messages"), self.body.get("prompt")
        texts = [message["content"] for message in messages] if messages else [prompt or ""]
        return math.ceil(sum(map(len, texts)) / CHARACTERS_PER_TOKEN)

    @property
    def max_completion_tokens(self) -> int:
        """The token limit of the answer; 0 if the body sets none."""
        return int(self.body.get("max_completion_tokens") or self.body.get("max_tokens") or 0)

    def with_double_limit(self) -> "Call":
        """Return the call that is sent after an answer was cut off: twice the token limit."""
        name = "max_completion_tokens" if "max_completion_tokens" in self.body else "max_tokens"
        body = {**self.body, name: 2 * self.max_completion_tokens}
        return dataclasses.replace(self, body=body)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, as it is stored.

    Attributes:
        identity: Of the call.
        distributions: What is kept of its log probabilities, see `neurons.distributions`.
        usd: Its price, if it is of use.
        wasted_usd: Paid for failed attempts, and for the answer itself if it is of no use.
        attempts: Requests that were sent for it; those that met a rate limit do not count.
        reused: It was in the ledger before the call was made.
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

    def outcome(self) -> "CallOutcome":
        """Return the answer itself, or why all of it is unusable: refused, or cut off."""
        if self.refusal or self.finish_reason == "content_filter":
            reason = self.refusal or "stopped by a content filter"
            return Refused(reason[:300], self.attempts, self.request_id)
        if self.finish_reason == "length":
            reason = f"cut off after {self.completion_tokens} tokens"
            if not without_reasoning(self.text):
                reason += " of reasoning, before any answer: set max_tokens higher"
            return Truncated(reason, self.attempts, self.request_id, self.text, self.identity)
        return self


CallOutcome = Answer | RowError


class Ledger(Protocol):
    """Stores answers. Its methods are called from threads."""

    def find(self, identities: Sequence[bytes]) -> dict[bytes, Answer]:
        """Return the answers that are stored."""

    def save(self, answers: Sequence[Answer]) -> None:
        """Store answers; they are committed when this returns."""
