"""Change limits, prices, timeouts and the budget of a run while it runs."""

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Engine

from db import runs
from db.configurations import differences
from db.session import transaction
from neurogloss.config.run import RunConfig
from neurogloss.config.toml import config_lines
from neurogloss.errors import InputError
from orchestrator.runs.create import refuse_cancelled
from worker.run import Run, log_changes

NONE = "none"


def change_limits(engine: Engine, run_id: int, assignments: Sequence[str]) -> list[str]:
    """Apply `KEY=VALUE` assignments to a run's configuration; return a line for each change.

    All are applied, or none.

    Raises:
        InputError: A key is unknown or part of the run's identity, or a value is not valid.
    """
    changes = [parse_assignment(assignment) for assignment in assignments]
    with transaction(engine) as connection:
        run = Run.of(runs.get_for_update(connection, run_id))
        refuse_cancelled(run.row)
        before = run.config
        values = before.model_dump(mode="json")
        for change in changes:
            values = _merged(values, change)
        after = _validated(values)
        frozen = differences(before.frozen(), after.frozen())
        if frozen:
            lines = "\n  ".join(frozen)
            raise InputError(
                "this identifies the run and cannot be changed; start another run under another "
                f"name instead:\n  {lines}"
            )
        runs.update_limits(connection, run_id, after.model_dump(mode="json"))
        runs.set_budget(connection, run_id, after.budget.usd)
    log_changes("limits changed", run.name, before, after)
    return differences(before.model_dump(mode="json"), after.model_dump(mode="json"))


def parse_assignment(assignment: str) -> dict[str, Any]:
    """Parse `KEY=VALUE`: a dotted key, and a TOML value, an unquoted word, or `none`."""
    key, equals, value = assignment.partition("=")
    if not equals or not key.strip():
        raise InputError(f"{assignment!r} is not of the form KEY=VALUE")
    is_none = value.strip() == NONE
    # TOML has no null, so the key is read with a 0 in its place. A word is tried as it is, then in
    # quotes.
    for text in ("0",) if is_none else (value, f"'{value.strip()}'"):
        try:
            values = tomllib.loads(f"{key} = {text}")
        except (ValueError, RecursionError):  # TOML syntax, an overlong number, deep nesting
            continue
        return _without(values) if is_none else values
    raise InputError(f"{assignment!r} is not of the form KEY=VALUE")


def _without(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _without(v) if isinstance(v, Mapping) else None for k, v in values.items()}


def _merged(values: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, value in change.items():
        before = merged.get(key)
        merged[key] = _merged(before or {}, value) if isinstance(value, Mapping) else value
    return merged


def _validated(values: Mapping[str, Any]) -> RunConfig:
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise InputError("\n".join(config_lines(error))) from error
