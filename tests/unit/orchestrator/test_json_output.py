"""What commands print as JSON."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest

from db.json_values import to_json
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.cli.terminal.plain import number

NAN, INFINITY = float("nan"), float("inf")


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


@pytest.mark.parametrize(
    "value",
    [NAN, INFINITY, -INFINITY, Decimal("NaN"), np.float64("nan"), [[NAN]], ({"a": (NAN, 1)},)],
    ids=repr,
)
def test_what_is_no_number_is_null_wherever_it_stands(value, capsys):
    print_json({"value": value})
    found = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert "null" in json.dumps(found)


def test_all_else_is_as_it_was():
    value = {"a": [1, 0.5, True, None, "NaN é"], "b": {"c": Decimal("1.25")}}
    assert json.loads(to_json(value)) == {"a": value["a"], "b": {"c": 1.25}}
    assert to_json({"a": b"\x01\xff"}) == '{"a": "01ff"}'
    assert to_json([datetime(2026, 1, 2, tzinfo=UTC)]) == '["2026-01-02 00:00:00+00:00"]'


def test_a_terminal_has_a_dash_for_what_is_no_number():
    assert [number(value) for value in (None, NAN, 0.5)] == ["-", "-", "0.500"]
