"""How much of an endpoint's limits a run uses: by model, now and over the last hours."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from db import call_minutes
from db.call_minutes import CallCount, CallSpan, latency_quantile, summed
from db.runs import StoredRun
from db.unanswered import RATE_LIMITED

SHOWN = timedelta(hours=3)
WIDTH = timedelta(minutes=5)
RECENT = timedelta(minutes=15)
MINUTE = timedelta(minutes=1)
RATE_MINUTES = 5  # full ones, over which the use of a limit is taken


@dataclass(frozen=True, slots=True)
class UsedSpan:
    """Use of a model in some minutes, a minute; `rate_limited` are calls of the whole span."""

    start: datetime
    requests_per_minute: float
    tokens_per_minute: float
    rate_limited: int


@dataclass(frozen=True, slots=True)
class ModelUse:
    """What a run uses of a model's limits.

    Attributes:
        requests_per_minute: Of the last full minutes; None before the first one ends.
        tokens_per_minute: Prompt and completion together.
        requests_limit: None without a limit, as for tokens.
        in_flight: How many calls wait for their answer on average, by their rate and latency.
        latency_p50_ms: Of the last 15 minutes, like all below but `spans`.
        prompt_tokens: Those that the server read.
        cached_share: The part of them that it had in its cache.
        cached_before: The same of the hours before.
        outcomes: Calls by what they came to.
        spans: All of the last hours.
    """

    endpoint: str
    model: str
    requests_per_minute: float | None
    tokens_per_minute: float | None
    requests_limit: int | None
    tokens_limit: int | None
    in_flight: float | None
    max_in_flight: int | None
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    prompt_tokens: int
    cached_share: float | None
    cached_before: float | None
    outcomes: dict[str, int]
    spans: list[UsedSpan]

    @property
    def requests_share(self) -> float | None:
        """The part of the limit that is used."""
        return _share(self.requests_per_minute, self.requests_limit)

    @property
    def tokens_share(self) -> float | None:
        """The part of the limit that is used."""
        return _share(self.tokens_per_minute, self.tokens_limit)

    @property
    def in_flight_share(self) -> float | None:
        """The part of the calls that may be in flight that are."""
        return _share(self.in_flight, self.max_in_flight)


def _share(used: float | None, limit: int | None) -> float | None:
    return None if used is None or not limit else used / limit


def used_limits(connection: Connection, run: StoredRun, now: datetime) -> list[ModelUse]:
    """Return what a run uses of the limits of each model that it has called lately."""
    minutes = call_minutes.spans(connection, run.id, RECENT, MINUTE)
    shown = call_minutes.spans(connection, run.id, SHOWN, WIDTH)
    models = sorted({(span.calls.endpoint, span.calls.model) for span in shown})
    return [
        _use(
            run, model, _of(model, minutes), _of(model, shown), now.replace(second=0, microsecond=0)
        )
        for model in models
    ]


def _of(model: tuple[str, str], spans: Iterable[CallSpan]) -> list[CallSpan]:
    return [span for span in spans if (span.calls.endpoint, span.calls.model) == model]


def _use(
    run: StoredRun,
    model: tuple[str, str],
    minutes: Sequence[CallSpan],
    shown: Sequence[CallSpan],
    this_minute: datetime,
) -> ModelUse:
    limits = limits_of(run, model[0])
    recent = _sum(span.calls for span in minutes)
    since = this_minute - RATE_MINUTES * MINUTE
    # The current minute is not over: its counts are too low for a rate.
    full = [span for span in minutes if since <= span.start < this_minute]
    # From the first minute with calls, or a run that has just begun would seem slow.
    passed = (this_minute - min(span.start for span in full)) / MINUTE if full else 0.0
    rate = _sum(span.calls for span in full)
    return ModelUse(
        *model,
        requests_per_minute=rate.calls / passed if passed else None,
        tokens_per_minute=_tokens(rate) / passed if passed else None,
        requests_limit=limits.get("requests_per_minute"),
        tokens_limit=limits.get("tokens_per_minute"),
        # Little's law: calls in flight are calls a minute times the minutes that each takes.
        in_flight=rate.latency_ms / 60_000 / passed if passed else None,
        max_in_flight=limits.get("max_in_flight"),
        latency_p50_ms=latency_quantile(recent.latency_counts, 0.5),
        latency_p95_ms=latency_quantile(recent.latency_counts, 0.95),
        prompt_tokens=recent.prompt_tokens,
        cached_share=_cached_share(recent),
        cached_before=_cached_share(
            _sum(span.calls for span in shown if span.start < this_minute - RECENT)
        ),
        outcomes={c.outcome: c.calls for c in summed((m.calls for m in minutes), ["outcome"])},
        spans=_used_spans(shown, this_minute),
    )


def _cached_share(count: CallCount) -> float | None:
    return count.cached_tokens / count.prompt_tokens if count.prompt_tokens else None


def limits_of(run: StoredRun, endpoint: str) -> Mapping[str, int]:
    """Return the limits of an endpoint; the configuration of a run that was imported has none."""
    endpoints = run.config.get("endpoints")
    limits: Any = endpoints.get(endpoint) if isinstance(endpoints, dict) else None
    if not isinstance(limits, dict):
        return {}
    return {name: value for name, value in limits.items() if isinstance(value, int)}


def _used_spans(spans: Sequence[CallSpan], now: datetime) -> list[UsedSpan]:
    last = now - timedelta(minutes=now.minute % (WIDTH // MINUTE))
    return [_used_span(spans, last - n * WIDTH) for n in reversed(range(SHOWN // WIDTH))]


def _used_span(spans: Sequence[CallSpan], start: datetime) -> UsedSpan:
    counts = [span.calls for span in spans if span.start == start]
    every = _sum(counts)
    refused = sum(count.calls for count in counts if count.outcome == RATE_LIMITED)
    minutes = WIDTH / MINUTE
    return UsedSpan(start, every.calls / minutes, _tokens(every) / minutes, refused)


def _sum(counts: Iterable[CallCount]) -> CallCount:
    return next(iter(summed(counts, [])), CallCount("", "", "", "", 0))


def _tokens(count: CallCount) -> int:
    return count.prompt_tokens + count.completion_tokens
