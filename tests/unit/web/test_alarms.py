"""Alarms about a run: each with its threshold, and none about few."""

from dataclasses import replace

import pytest

from web.overview.alarms import alarms_about_calls
from web.overview.limits import ModelUse

USE = ModelUse(
    "here", "m", None, None, None, None, None, None, None, None, 100_000, 0.4, 0.5, {}, []
)


@pytest.mark.parametrize(
    ("outcomes", "alarms"),
    [
        ({"answered": 98, "truncated": 2}, ["m: 2 of 100 answers were cut off"]),
        ({"answered": 990, "rate_limited": 10}, ["m: 10 of 1,000 calls met a limit"]),
        ({"answered": 990, "rate_limited": 9}, []),
        ({"answered": 10, "refused": 10}, []),
    ],
)
def test_alarms_about_outcomes(outcomes, alarms):
    found = list(alarms_about_calls([replace(USE, outcomes=outcomes)]))
    assert len(found) == len(alarms)
    assert all(said.startswith(alarm) for said, alarm in zip(found, alarms, strict=True))


@pytest.mark.parametrize(
    ("changes", "is_alarm"),
    [
        ({"cached_share": 0.0}, True),
        ({"cached_share": 0.0, "cached_before": 0.1}, False),
        ({"cached_share": 0.0, "cached_before": None}, False),
        ({"cached_share": 0.0, "prompt_tokens": 100}, False),
        ({}, False),
    ],
)
def test_a_cache_that_stopped_is_an_alarm(changes, is_alarm):
    assert bool(list(alarms_about_calls([replace(USE, **changes)]))) == is_alarm
