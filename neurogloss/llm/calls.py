"""Calls to a language model, their answers, and the ledger that keeps the answers."""

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import orjson

from neurogloss.errors import Incomplete, OnlyReasoned, Refused, RowError, Truncated
from neurogloss.llm.finish_reasons import FILTERED, LENGTH, is_whole
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
        # The address counts, since one name may stand for different models. Key, limits and
        # timeouts do not change an answer, and do not count.
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
        """Return the answer itself, or why all of it is unusable: refused, cut off, broken off."""
        if self.refusal or self.finish_reason == FILTERED:
            reason = self.refusal or "stopped by a content filter"
            return Refused(reason[:300], self.attempts, self.request_id)
        if self.finish_reason == LENGTH and not without_reasoning(self.text):
            reason = (
                f"the model used all {self.completion_tokens} tokens before its answer began, as "
                "models that reason do: set max_tokens higher"
            )
            return OnlyReasoned(reason, self.attempts, self.request_id, self.text, self.identity)
        if self.finish_reason == LENGTH:
            reason = f"cut off after {self.completion_tokens} tokens"
            return Truncated(reason, self.attempts, self.request_id, self.text, self.identity)
        if not is_whole(self.finish_reason):
            reason = f"the answer is not whole: its finish_reason is {self.finish_reason!r}"
            return Incomplete(reason, self.attempts, self.request_id)
        return self


CallOutcome = Answer | RowError


class Ledger(Protocol):
    """Stores answers. Its methods are called from threads."""

    def find(self, identities: Sequence[bytes]) -> dict[bytes, Answer]:
        """Return the answers that are stored."""

    def save(self, answers: Sequence[Answer]) -> None:
        """Store answers; they are committed when this returns."""
