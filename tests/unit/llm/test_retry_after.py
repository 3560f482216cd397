"""How long a server asks to wait, in headers and in bodies."""

import httpx
import pytest

from neurogloss.llm.retry_after import retry_after
from neurogloss.llm.server_error import said_in


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after-ms": "250"}, 0.25),
        ({"x-ratelimit-reset-requests": "120ms", "x-ratelimit-reset-tokens": "6m0s"}, 120),
        ({"x-ratelimit-reset-requests": "1s"}, 1),
        ({"x-ratelimit-reset-tokens": "1m1.5s"}, 61.5),
        ({"retry-after": "Fri, 27 Nov 2026 12:00:12 GMT"}, 12),
        ({"retry-after": "2026-11-27T12:00:12Z"}, 12),
        ({"retry-after": "2026-11-27T13:00:12+01:00"}, 12),
        ({"retry-after": "1795780812"}, 12),
        ({"retry-after": "1795780812000"}, 12),
        ({"retry-after": "Fri, 27 Nov 2026 11:00:00 GMT"}, 1),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, 120),
        ({"retry-after": "0"}, 0.1),
        ({"retry-after": "-5"}, 1),
        ({"retry-after": "inf"}, 1),
        ({"retry-after": "9" * 400}, 1),
        ({"retry-after": "1e300"}, 1),
        ({"retry-after": "86400"}, 120),
        ({"retry-after": "5", "x-ratelimit-reset": "60"}, 5),
        ({"x-ratelimit-reset": "1795780812000"}, 12),
        ({"ratelimit-reset": "30"}, 30),
        ({"anthropic-ratelimit-input-tokens-reset": "2026-11-27T12:00:30Z"}, 30),
        (
            {
                "anthropic-ratelimit-requests-reset": "2026-11-27T12:00:05Z",
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2026-11-27T12:01:00Z",
                "anthropic-ratelimit-tokens-remaining": "900",
            },
            5,
        ),
        ({"x-retry-after": "7"}, 7),
        ({"x-ratelimit-retry-after": "7"}, 7),
        ({"x-rate-limit-reset": "7"}, 7),
        ({"ratelimit": "limit=100, remaining=0, reset=14"}, 14),
        ({"ratelimit": '"default";r=0;t=30'}, 30),
        ({"ratelimit": '"default";r=0;t=' + "9" * 400}, 120),
        ({"retry-after": "soon"}, 1),
        ({"retry-after": "nan"}, 1),
        ({}, 1),
    ],
)
def test_how_long_to_wait(headers, seconds):
    date = {"date": "Fri, 27 Nov 2026 12:00:00 GMT"}
    assert retry_after(httpx.Headers({**date, **headers})) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ({"error": {"message": "Please retry in 12.3s."}}, 12.3),
        ({"error": {"message": "Limit 3, used 3. Please try again in 20s. Visit us"}}, 20),
        ({"error": {"message": "Please try again in 1m30.002s."}}, 90.002),
        ({"error": {"message": "Please try again in 120ms"}}, 0.12),
        ({"error": {"message": "Please retry after 86400 seconds."}}, 120),
        ({"detail": "Too many requests, wait 2 minutes and 5 seconds"}, 120),
        ({"error": {"message": "Wait 1 min, 5 secs"}}, 65),
        ([{"error": {"details": [{"@type": "RetryInfo", "retryDelay": "12s"}]}}], 12),
        ({"error": {"metadata": {"headers": {"X-RateLimit-Reset": "1795780812000"}}}}, 12),
        ({"error": {"retry_after": 7}}, 7),
        ({"error": {"message": "Please retry after 12"}}, 12),
        ({"error": {"message": "retry_after: 12"}}, 12),
        ({"error": {"message": "You can retry in 00:00:12"}}, 1),
        ({"error": {"message": "retry after 2026-11-27"}}, 1),
        ({"error": {"message": "try again in 99999999999999s"}}, 120),
        ({"error": {"resets_in_seconds": 21}}, 21),
        ({"error": {"reset_in_ms": 21000}}, 21),
        ({"error": {"resets_at": 1795780842}}, 42),
        ({"error": {"reset_at": "2026-11-27T12:00:21Z"}}, 21),
        ({"error": {"message": "try again in " + "9" * 400 + "s"}}, 1),
        ({"error": {"message": "try again in five minutes"}}, 1),
        ({"error": {"retry_after": True, "retry_after_ms": [None]}}, 1),
    ],
)
def test_a_wait_may_be_named_in_the_body(body, seconds):
    date = httpx.Headers({"date": "Fri, 27 Nov 2026 12:00:00 GMT"})
    assert retry_after(date, said_in(body, 429)) == pytest.approx(seconds)
