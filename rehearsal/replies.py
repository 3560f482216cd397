"""The replies of the server: HTTP responses, errors, chat completions, usage."""

from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

NOTICE = "rehearsal server of neurogloss, not a language model"

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP response, to be sent after `delay_s` seconds."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    delay_s: float = 0.0


class ApiError(Exception):
    """A reply with a status other than 200, in the form of OpenAI's errors."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.code = code
        self.param = param
        self.retry_after = retry_after

    def body(self) -> bytes:
        return orjson.dumps(
            {
                "error": {
                    "message": f"{self.message} [{NOTICE}]",
                    "type": self.type,
                    "code": self.code,
                    "param": self.param,
                }
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantMessage:
    """The assistant's message; `content` is None if it refuses."""

    content: str | None
    refusal: str | None = None
    finish_reason: FinishReason = "stop"

    @property
    def text(self) -> str:
        """The text that is paid for."""
        return self.content or self.refusal or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    prompt_tokens: int
    cached_tokens: int
    """The prompt tokens that were in the prefix cache."""
    completion_tokens: int
    """Tokens of the answer, with what was thought before it."""
    reasoning_tokens: int = 0


def completion_body(
    *,
    request_id: str,
    model: str,
    answer: AssistantMessage,
    usage: Usage,
    logprobs: list[dict[str, Any]] | None,
) -> bytes:
    """Return a chat completion as JSON.

    `created` is always 0, so that the same request always gets the same bytes.
    """
    choice = {
        "index": 0,
        "message": {
            "role": "assistant",
            "content": answer.content,
            "refusal": answer.refusal,
        },
        "logprobs": None if logprobs is None else {"content": logprobs, "refusal": None},
        "finish_reason": answer.finish_reason,
    }
    return orjson.dumps(
        {
            "id": request_id,
            "object": "chat.completion",
            "created": 0,
            "model": model,
            "system_fingerprint": NOTICE,
            "choices": [choice],
            "usage": usage_body(usage),
        }
    )


def usage_body(usage: Usage) -> dict[str, Any]:
    """Return the `usage` of a completion."""
    thought = {"reasoning_tokens": usage.reasoning_tokens}
    return {
        **({"completion_tokens_details": thought} if usage.reasoning_tokens else {}),
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
