"""Numbers, money and times as people read them."""

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from web.formats import NOTHING, ago, count, duration, number, percent, usd


@pytest.mark.parametrize("show", [number, count, percent, usd])
@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
def test_what_is_not_known_is_no_number(show, missing):
    assert show(missing) == NOTHING


@pytest.mark.parametrize("value", [-0.0, -0.0004, Decimal("-0.0004"), 0])
def test_what_is_rounded_to_nothing_has_no_sign(value):
    assert (number(value), percent(value)) == ("0.00", "0 %")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "$0.00"), (1234.5, "$1,234.50"), (0.0123, "$0.0123"), (0.0000042, "$0.000004")],
)
def test_a_small_amount_is_not_nothing(value, shown):
    assert usd(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0123, "12 ms"),
        (59.6, "1 min"),
        (timedelta(minutes=2, seconds=5), "2 min 5 s"),
        (timedelta(hours=31), "1 d 7 h"),
        (None, NOTHING),
    ],
)
def test_a_duration_has_its_two_largest_units(value, shown):
    assert duration(value) == shown


def test_a_moment_is_said_by_its_distance_and_holds_itself():
    now = datetime(2026, 5, 4, 12, tzinfo=UTC)
    shown = ago(now - timedelta(minutes=3, seconds=59), now)
    assert ">3 min ago<" in shown
    assert "2026-05-04 11:56:01 UTC" in shown
    assert ago(None) == NOTHING
