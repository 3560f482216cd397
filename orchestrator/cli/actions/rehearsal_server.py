"""What the command `rehearsal-server` does: serve a stand-in for an LLM API."""

import os
from typing import Any

from neurogloss.errors import InputError
from rehearsal.capabilities import Capabilities
from rehearsal.faults import FaultRates
from rehearsal.options import BatchOptions, RehearsalOptions
from rehearsal.server import serve


def rehearsal_server(**given: Any) -> None:
    try:
        options = _options(**given)
    except ValueError as error:
        raise InputError(str(error)) from error
    serve(options)


def _options(
    *,
    model: tuple[str, ...],
    any_model: bool,
    faults: tuple[tuple[str, float], ...],
    without: tuple[Any, ...],
    reasoning: bool,
    max_logprobs: int,
    batch_seconds: float,
    batch_expiries: int,
    batch_line_failures: float,
    batch_enqueued_tokens: int | None,
    **plain: Any,
) -> RehearsalOptions:
    """Return the options that the command line names.

    Raises:
        ValueError: If one is impossible.
    """
    return RehearsalOptions(
        models=() if any_model else model,
        faults=FaultRates.named(faults),
        capabilities=Capabilities(
            without=frozenset(without), reasoning=reasoning, max_logprobs=max_logprobs
        ),
        batches=BatchOptions(
            seconds=batch_seconds,
            expiries=batch_expiries,
            line_failures=batch_line_failures,
            max_enqueued_tokens=batch_enqueued_tokens,
        ),
        api_key=os.environ.get("REHEARSAL_API_KEY") or None,
        **plain,
    )
