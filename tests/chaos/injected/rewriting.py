"""Statements that a process changes on their way to the database."""

from collections.abc import Callable
from typing import Any


def rewrite(change: Callable[[str], str]) -> None:
    """Change every statement on its way to the database."""
    from sqlalchemy import Engine, event

    def changed(
        connection: Any, cursor: Any, statement: str, values: Any, context: Any, many: bool
    ) -> tuple[str, Any]:
        return change(statement), values

    event.listen(Engine, "before_cursor_execute", changed, retval=True)
