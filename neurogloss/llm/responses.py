"""Reading the responses of an OpenAI-compatible API.

A success is one only when it is whole: some servers put an error into it, or break an answer off.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx

from neurogloss.errors import RateLimited, RunError, ServiceUnavailable, UnsuitableModel
from neurogloss.llm.calls import CHARACTERS_PER_TOKEN, Answer, Call
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.error_classes import UnsupportedParameter, error_for
from neurogloss.llm.finish_reasons import LENGTH, finish_reason_of, is_whole
from neurogloss.llm.json_text import read_json, without_half_surrogates
from neurogloss.llm.server_error import said_by, said_in
from neurogloss.llm.server_text import server_text, without_key
from neurogloss.llm.token_logprobs import chat_places, first_place, prompt_places
from neurogloss.llm.usage import UNREADABLE, usage_in

__all__ = ["Completion", "UnsupportedParameter", "raise_for_error", "read_completion"]

_SHOWN_OF_ANSWER = 80
_SHORTEST_SECRET = 16  # characters of a key that is worth hiding in the text of an answer
_LONGEST_REASON = 80  # characters of a `finish_reason`
_ERROR = b'"error"'
_STREAM = (b"data:", b"event:")
_PAGE = b"<"


def raise_for_error(response: httpx.Response, secret: str | None) -> None:
    """Raise the error that a response reports; return if it is a success.

    Args:
        response: Read to its end.
        secret: The key, which is removed from messages.

    Raises:
        RateLimited: With the wait that the server asks for.
        ServiceUnavailable: The same request may succeed later.
        RowError: The same request would fail again.
        RunError: Every request of the run would fail alike.
        UnsupportedParameter: The request may succeed without the parameter.
    """
    if not response.is_success:
        raise error_for(said_by(response), response, secret)
    # A search for bytes is cheap: nearly all answers are parsed once only, by `read_completion`.
    if _ERROR in response.content and (body := _failed_body(response.content)) is not None:
        raise error_for(said_in(body, response.status_code), response, secret)


def _failed_body(content: bytes) -> Any:
    """Return the body of a success that is an error; None for other successes."""
    try:
        body = read_json(content)
    except ValueError:
        return None  # which `read_completion` reports
    first = body[0] if isinstance(body, list) and body else body
    is_error = isinstance(first, dict) and first.get("error") and not first.get("choices")
    return body if is_error else None


@dataclass(frozen=True, slots=True)
class Completion:
    """The parts of a completion that are stored.

    Attributes:
        text: Generated text, without an echo of the prompt.
        distributions: What is kept of its log probabilities, packed; None where there are none.
    """

    text: str
    finish_reason: str | None
    refusal: str | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    distributions: bytes | None = None

    def counted(self, call: Call) -> "Completion":
        """Return it with tokens estimated from the texts, where the server counts none.

        A server without a field `usage` may have prices all the same, and a run a budget.
        """
        if self.prompt_tokens or self.completion_tokens:
            return self
        n_answered = math.ceil(len(self.text) / CHARACTERS_PER_TOKEN)
        return replace(self, prompt_tokens=call.prompt_tokens, completion_tokens=n_answered)

    def answer(
        self,
        *,
        identity: bytes,
        purpose: str,
        endpoint: Endpoint,
        model: str,
        attempts: int,
        latency_ms: int,
        request_id: str | None,
        wasted_usd: float = 0.0,
        price_factor: float = 1.0,
    ) -> Answer:
        """Return the answer to a call, at the prices of its endpoint times `price_factor`.

        An answer that is not whole is of no use: its price adds to `wasted_usd`.
        """
        usage = (self.prompt_tokens, self.cached_tokens, self.completion_tokens)
        usd = price_factor * endpoint.price(model).cost(*usage)
        is_useless = self.finish_reason == LENGTH or not is_whole(self.finish_reason)
        return Answer(
            identity=identity,
            purpose=purpose,
            endpoint=endpoint.name,
            model=model,
            text=self.text,
            finish_reason=self.finish_reason,
            refusal=self.refusal,
            distributions=self.distributions,
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            completion_tokens=self.completion_tokens,
            usd=0.0 if is_useless else usd,
            wasted_usd=wasted_usd + (usd if is_useless else 0.0),
            attempts=attempts,
            latency_ms=latency_ms,
            request_id=request_id,
        )


def read_completion(
    content: bytes, request: Mapping[str, Any] | None = None, secret: str | None = None
) -> Completion:
    """Read the first choice and the usage of a successful completion, of a chat or of a prompt.

    Args:
        content: The body of the response.
        request: The body of the request. A prompt in it may be echoed, and an answer of one token
            that was limited to one is complete: its `finish_reason` becomes `stop`.
        secret: The key, which is removed from messages, a refusal's among them.

    Raises:
        ServiceUnavailable: The body is cut off, or is no completion.
        RateLimited, RunError: The server broke the answer off, for this reason.
        UnsuitableModel: It is a stream of events, which was not asked for.
    """
    request = request or {}
    if content.lstrip().startswith(_STREAM):
        raise UnsuitableModel(
            "the endpoint streams its answers (text/event-stream), which was not asked for: turn "
            "streaming off there, or choose another endpoint"
        )
    try:
        body = read_json(content)
        _raise_if_broken_off(body, secret)
        choice = body["choices"][0]
        read_choice = _read_prompt_choice if "prompt" in request else _read_chat_choice
        text, refusal, distributions = read_choice(choice, body, request)
        return Completion(
            text=_answer_text(text, secret) or "",
            finish_reason=_finish_reason(choice, request, secret),
            refusal=_answer_text(refusal, secret),
            **usage_in(body.get("usage"))._asdict(),
            distributions=distributions,
        )
    except UNREADABLE as error:
        # The whole of a key that begins in what is shown has to be seen before the text is cut.
        start = server_text(repr(content[:100_000]), secret)[:_SHOWN_OF_ANSWER]
        is_page = content.lstrip().startswith(_PAGE)
        what = "a page, no completion (base_url may lack /v1)" if is_page else "no completion"
        raise ServiceUnavailable(f"the answer is {what}: {start}") from error


def _raise_if_broken_off(body: Mapping[str, Any], secret: str | None) -> None:
    """Raise the error that a success holds in place of an answer, if other calls meet it too."""
    choices = body.get("choices")
    error = choices[0].get("error") or body.get("error") if choices else body
    if error:
        found = error_for(said_in({"error": error}, 200), httpx.Response(200), secret)
        if isinstance(found, RateLimited | RunError):
            raise found


Choice = tuple[str | None, str | None, bytes | None]  # text, refusal, distributions


def _read_chat_choice(
    choice: Mapping[str, Any], body: object, request: Mapping[str, Any]
) -> Choice:
    message = choice["message"]
    text = _joined(message.get("content")) or ""
    logprobs = (choice.get("logprobs") or {}).get("content")
    distributions = None
    if logprobs is not None and _limit(request) == 1:
        distributions = _places(lambda: first_place(logprobs))
    elif logprobs is not None:
        distributions = _places(lambda: chat_places(logprobs, text))
    return text, message.get("refusal") or _refusal_in(message.get("content")), distributions


def _refusal_in(content: Any) -> str | None:
    """Return the refusal among the parts of a content."""
    parts = content if isinstance(content, list) else []
    refusals = [part.get("refusal") for part in parts if isinstance(part, dict)]
    return next((str(refusal) for refusal in refusals if refusal), None)


def _joined(content: Any) -> Any:
    """Return the text of a content that is a list of parts; other contents as they are."""
    if not isinstance(content, list):
        return content
    texts = [part if isinstance(part, str) else _text_of(part) for part in content if part]
    return "".join(texts)


def _text_of(part: Mapping[str, Any]) -> str:
    """Return what a part says; parts of reasoning, and tools, say nothing."""
    is_text = part.get("type", "text") in ("text", "output_text")
    return str(part["text"]) if is_text else ""


def _places(read: Callable[[], bytes | None]) -> bytes | None:
    """Return packed log probabilities; None where they are unusable: the text was paid for."""
    try:
        return read()
    except UNREADABLE:
        return None


def _read_prompt_choice(
    choice: Mapping[str, Any], body: Mapping[str, Any], request: Mapping[str, Any]
) -> Choice:
    prompt = request["prompt"]
    text = choice["text"].removeprefix(prompt) if request.get("echo") else choice["text"]
    return text, None, _places(lambda: prompt_places(choice, body, prompt))


def _finish_reason(
    choice: Mapping[str, Any], request: Mapping[str, Any], secret: str | None
) -> str | None:
    said = choice.get("finish_reason")
    if said is None:
        return "error" if choice.get("error") else None
    reason = finish_reason_of((_answer_text(str(said), secret) or "")[:_LONGEST_REASON])
    # A prompt with echo is answered by one token, or none, and always "cut off" there.
    return "stop" if reason == LENGTH and _limit(request) in (0, 1) else reason


def _limit(request: Mapping[str, Any]) -> Any:
    return request.get("max_completion_tokens", request.get("max_tokens"))


def _answer_text(text: object, secret: str | None) -> str | None:
    """Return a model's text without our key, which messages about the answer would quote."""
    stored = _storable(text)
    # "EMPTY" and other keys of servers that want none may be words of an explanation.
    if stored is None or secret is None or len(secret) < _SHORTEST_SECRET:
        return stored
    return without_key(stored, secret)


def _storable(text: object) -> str | None:
    """Return a text without NUL and half surrogates, which the database does not take.

    Raises:
        TypeError: It is not a text.
    """
    if text is None:
        return None
    if not isinstance(text, str):
        raise TypeError(type(text).__name__)
    return without_half_surrogates(text).replace("\0", "\N{REPLACEMENT CHARACTER}")
