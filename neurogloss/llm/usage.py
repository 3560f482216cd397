"""The tokens that an answer was paid for, as servers count them."""

import math
from typing import Any, NamedTuple

from neurogloss.llm.json_text import read_json

UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
"""Errors that reading a malformed value of a server may raise."""
_MOST_TOKENS = 2**31 - 1  # that the database holds


class TokenUsage(NamedTuple):
    """Tokens of prompt, cache (a part of the prompt) and answer, reasoning among them."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


def usage_of(content: bytes) -> TokenUsage | None:
    """Return the usage that a body names; None if it names none."""
    try:
        usage = read_json(content)["usage"]
    except UNREADABLE:
        return None
    return usage_in(usage) if isinstance(usage, dict) else None


def usage_in(usage: Any) -> TokenUsage:
    """Return the counts of a field `usage`; 0 for anything but a number: it was paid for.

    Some gateways keep the names of Anthropic, and DeepSeek has its own for the cache. xAI and
    Gemini leave reasoning out of the tokens of the answer, and count it in the total alone, which
    is what they charge.
    """
    usage = _object(usage)
    prompt = _count(usage.get("prompt_tokens") or usage.get("input_tokens"))
    answer = _count(usage.get("completion_tokens") or usage.get("output_tokens"))
    total = _count(usage.get("total_tokens"))
    details = _object(usage.get("prompt_tokens_details"))
    cached = _count(details.get("cached_tokens") or usage.get("prompt_cache_hit_tokens"))
    return TokenUsage(
        prompt,
        # Some servers report more than the prompt has, which would make the rest of it negative.
        min(prompt, cached),
        max(answer, total - prompt) if prompt else answer,
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    try:
        number = float(value or 0)
    except (ValueError, TypeError, OverflowError):
        return 0
    return int(min(max(0.0, number), _MOST_TOKENS)) if math.isfinite(number) else 0
