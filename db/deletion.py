"""Deleting a run, with all that nobody else needs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Table, delete, func, select

from db import corpora, runs
from db.tables import CallTable, RunOriginTable, RunTable
from db.tables.base import Base, table_of
from neurogloss.errors import InputError

ENDED = ("done", "cancelled", "importing")
"""The states in which no process works on a run; one that is imported is held by a lock."""

Say = Callable[[str, int, int], None]
"""Takes the table from which rows are deleted, its number and how many tables there are."""


@dataclass(frozen=True, slots=True)
class DeletedRun:
    """What was deleted with a run: rows of all tables, answers among them, and their price."""

    run: str
    rows: int
    answers: int
    usd: float
    corpus: bool


def delete_run(connection: Connection, run_id: int, say: Say) -> DeletedRun:
    """Delete a run, its answers, and its corpus and vocabulary if no other run has them.

    Raises:
        InputError: It has not ended, or another run uses its answers or its records.
    """
    # Locked until the commit, so that nobody resumes the run meanwhile.
    run = runs.get_for_update(connection, run_id)
    if run.state not in ENDED:
        raise InputError(f"run {run.name!r} is {run.state}: end it by `neurogloss cancel` before")
    if users := _users(connection, run_id):
        names = ", ".join(users)
        raise InputError(
            f"run {run.name!r} is needed by {names}, which have answers or records of it"
        )
    answers, usd = connection.execute(
        select(
            func.count(), func.coalesce(func.sum(CallTable.usd + CallTable.wasted_usd), 0.0)
        ).where(CallTable.run_id == run_id)
    ).one()
    rows = _delete_rows(connection, run_id, say)
    has_corpus = corpora.delete_unused(connection, run.corpus_id)
    return DeletedRun(run.name, rows, answers, float(usd), has_corpus)


def _users(connection: Connection, run_id: int) -> Sequence[str]:
    """Return the names of other runs with answers or records of this one."""
    others = list(connection.scalars(select(RunTable.id).where(RunTable.id != run_id)))
    if not others:
        return []
    found = set(
        connection.scalars(select(RunOriginTable.run_id).where(RunOriginTable.from_run == run_id))
    )
    calls = table_of(CallTable).c
    for table in _tables_with("run_id", "call"):
        users = (
            select(table.c.run_id)
            .distinct()
            .join(table_of(CallTable), calls.identity == table.c.call)
            .where(calls.run_id == run_id, table.c.run_id.in_(others))
        )
        found |= set(connection.scalars(users))
    named = select(RunTable.name).where(RunTable.id.in_(found)).order_by(RunTable.name)
    return list(connection.scalars(named))


def _tables_with(*columns: str) -> list[Table]:
    """Return the tables that have these columns, those first that refer to others."""
    return [
        table
        for table in reversed(Base.metadata.sorted_tables)
        if all(column in table.c for column in columns)
    ]


def _delete_rows(connection: Connection, run_id: int, say: Say) -> int:
    """Delete what tables have of a run, and the run; return how many rows that were."""
    tables, rows = _tables_with("run_id"), 1
    for number, table in enumerate(tables):
        say(f"rows of {table.name}", number, len(tables))
        rows += connection.execute(delete(table).where(table.c.run_id == run_id)).rowcount
    connection.execute(delete(RunTable).where(RunTable.id == run_id))
    return rows
