"""Completions of a prompt, with echo and log probabilities: from request bytes to answer bytes.

The form is that of the OpenAI API before chat, with vLLM's `prompt_logprobs` added.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rehearsal.activations import activation
from rehearsal.answers import ACTIVATION_LEVELS, OPENING, explanation
from rehearsal.completion_logprobs import ScoredPiece, expected_numbers, score_pieces
from rehearsal.exchanges import RenderedAnswer
from rehearsal.faults import ContentFault
from rehearsal.options import RehearsalOptions
from rehearsal.replies import NOTICE, ApiError, FinishReason, Usage, usage_body
from rehearsal.request_checks import (
    bad_request,
    load_json,
    refuse_unknown_model,
    refuse_unsupported,
)
from rehearsal.seeded_random import draw
from rehearsal.tokenizer import Piece, tokenize

Logprobs = Annotated[int, Field(ge=0, le=20)]


class CompletionRequest(BaseModel):
    """The part of a request for a completion on which the answer depends."""

    model_config = ConfigDict(strict=True)

    model: str
    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]
    max_tokens: Annotated[int, Field(ge=0)] = 16
    echo: bool = False
    logprobs: Logprobs | None = None
    prompt_logprobs: Logprobs | None = None
    n: int | None = None
    stream: bool | None = None

    @property
    def text(self) -> str:
        """The prompt, which may come as a list of one."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt[0]


def read_completion(body: bytes, options: RehearsalOptions) -> "CompletionExchange":
    """Read a request for a completion.

    Raises:
        ApiError: 400 for what this server does not do, 404 for an unknown model.
    """
    try:
        request = CompletionRequest.model_validate(load_json(body))
    except ValidationError as error:
        raise bad_request(error) from error
    refuse_unsupported(n=request.n, stream=request.stream)
    refuse_unknown_model(request.model, options.models)
    _refuse_impossible(request, options)
    digest = hashlib.sha256(body).digest()
    return CompletionExchange(request, digest, tokenize(request.text, options.seed), options.seed)


def _refuse_impossible(request: CompletionRequest, options: RehearsalOptions) -> None:
    capabilities = options.capabilities
    if "completions" in capabilities.without:
        raise ApiError(404, "Not Found: there are no completions here", code="not_found")
    if request.echo:
        capabilities.require("echo", "echo")
    if request.logprobs is not None:
        capabilities.require_logprobs(request.logprobs, "logprobs")
    if request.prompt_logprobs is not None:
        capabilities.require("prompt_logprobs", "prompt_logprobs")
        capabilities.require_logprobs(request.prompt_logprobs, "prompt_logprobs")
    if request.max_tokens == 0 and not request.echo:
        raise ApiError(400, "max_tokens: 0 needs echo, use 1 or more", param="max_tokens")


@dataclass(frozen=True, slots=True)
class CompletionExchange:
    """A request for a completion, and the tokens of its prompt."""

    request: CompletionRequest
    digest: bytes
    pieces: list[Piece]
    """The tokens of the prompt."""
    seed: int

    @property
    def model(self) -> str:
        return self.request.model

    @property
    def prompt(self) -> str:
        return self.request.text

    @property
    def prompt_tokens(self) -> int:
        return len(self.pieces)

    @property
    def _prompt_digest(self) -> bytes:
        """Seeds the log probabilities, which do not depend on the way in which they are asked."""
        return hashlib.sha256(self.prompt.encode()).digest()

    def render(self, fault: ContentFault | None) -> RenderedAnswer:
        """Return the answer after a fault, if there is one that can apply to it."""
        new, finish_reason = self._continuation()
        good = _Completion(self._scored(new), finish_reason)
        sent = _with_fault(good, fault, draw(self.seed, "spoilt", self.digest)) if fault else good
        return RenderedAnswer(
            completion_tokens=len(new),
            fault=None if sent == good else fault,
            to_json=lambda usage: self._to_json(sent, usage),
        )

    def _continuation(self) -> tuple[list[Piece], FinishReason]:
        """Return the new tokens: an activation after a tab, else an explanation."""
        limit = self.request.max_tokens
        line = self.prompt.rpartition("\n")[2]
        if line.endswith("\t"):
            number = str(activation(self.seed, line[:-1], ACTIVATION_LEVELS))
            return [Piece(number, number)][:limit], "length" if limit <= 1 else "stop"
        pieces = tokenize(explanation(self.digest, self.prompt, self.seed), self.seed)
        return pieces[:limit], "length" if limit < len(pieces) else "stop"

    def _scored(self, new: Sequence[Piece]) -> list[ScoredPiece]:
        """Return the new tokens, after those of the prompt if it is echoed, with alternatives."""
        numbers = expected_numbers(self.pieces, self.seed)
        if len(new) == 1 and self.prompt.endswith("\t"):
            numbers[len(self.pieces)] = int(new[0].content)
        scored = score_pieces([*self.pieces, *new], numbers, self.seed, self._prompt_digest)
        return scored if self.request.echo else scored[len(self.pieces) :]

    def _to_json(self, sent: "_Completion", usage: Usage) -> bytes:
        choice: dict[str, Any] = {
            "index": 0,
            "text": sent.text,
            "logprobs": None,
            "finish_reason": sent.finish_reason,
        }
        if self.request.logprobs is not None and sent.has_logprobs:
            choice["logprobs"] = _logprobs(sent.scored, self.request.logprobs, self.request.echo)
        if self.request.prompt_logprobs is not None:
            choice["prompt_logprobs"] = self._prompt_logprobs(self.request.prompt_logprobs)
        return orjson.dumps(
            {
                "id": f"cmpl-rehearsal-{self.digest.hex()[:24]}",
                "object": "text_completion",
                "created": 0,
                "model": self.model,
                "system_fingerprint": NOTICE,
                "choices": [choice],
                "usage": usage_body(usage),
            }
        )

    def _prompt_logprobs(self, count: int) -> list[dict[str, Any] | None]:
        numbers = expected_numbers(self.pieces, self.seed)
        scored = score_pieces(self.pieces, numbers, self.seed, self._prompt_digest)
        return [None, *(entry.vllm_top(count) for entry in scored[1:])]


@dataclass(frozen=True, slots=True)
class _Completion:
    scored: Sequence[ScoredPiece]
    finish_reason: str
    has_logprobs: bool = True
    """Whether log probabilities are given to a request that asks for them."""

    @property
    def text(self) -> str:
        return "".join(entry.piece.content for entry in self.scored)


def _logprobs(scored: Sequence[ScoredPiece], count: int, echo: bool) -> dict[str, list[Any]]:
    offsets, end = [], 0
    for entry in scored:
        offsets.append(end)
        end += len(entry.piece.content)
    logprobs: list[float | None] = [entry.logprob for entry in scored]
    top: list[dict[str, float] | None] = [entry.top(count) for entry in scored]
    if echo and scored:  # the first token of a prompt has no log probability
        logprobs[0] = top[0] = None
    return {
        "tokens": [entry.piece.shown for entry in scored],
        "token_logprobs": logprobs,
        "top_logprobs": top,
        "text_offset": offsets,
    }


def _with_fault(good: _Completion, fault: ContentFault, chance: int) -> _Completion:
    scored = good.scored
    match fault:
        case "refusal":
            return _Completion([], "content_filter")
        case "empty":
            return _Completion([], good.finish_reason)
        case "truncated":
            return _Completion(scored[: len(scored) // 2], "length")
        case "malformed":
            text = f"{OPENING} no"
            return _Completion(
                [ScoredPiece(Piece(text, text), 0.0, [])], "stop", has_logprobs=False
            )
        case "position_missing" | "position_added":
            return _with_another_length(good, fault == "position_added", chance)


def _with_another_length(good: _Completion, longer: bool, chance: int) -> _Completion:
    places = [place for place, entry in enumerate(good.scored) if entry.expects_number]
    if not places:
        return good
    place = places[chance % len(places)]
    again = [good.scored[place]] * (2 if longer else 0)
    scored = [*good.scored[:place], *again, *good.scored[place + 1 :]]
    return dataclasses.replace(good, scored=scored)
