"""Deleting a run, with all that nobody else needs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Table, delete, func, select

from db import corpora, runs
from db.tables.calls import call_table
from db.tables.origins import run_origin_table
from db.tables.runs import run_table
from db.tables.schema import METADATA
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
            func.count(), func.coalesce(func.sum(call_table.c.usd + call_table.c.wasted_usd), 0.0)
        ).where(call_table.c.run_id == run_id)
    ).one()
    rows = _delete_rows(connection, run_id, say)
    has_corpus = corpora.delete_unused(connection, run.corpus_id)
    return DeletedRun(run.name, rows, answers, float(usd), has_corpus)


def _users(connection: Connection, run_id: int) -> Sequence[str]:
    """Return the names of other runs with answers or records of this one."""
    others = list(connection.scalars(select(run_table.c.id).where(run_table.c.id != run_id)))
    if not others:
        return []
    found = set(
        connection.scalars(
            select(run_origin_table.c.run_id).where(run_origin_table.c.from_run == run_id)
        )
    )
    calls = call_table.c
    for table in _tables_with("run_id", "call"):
        users = (
            select(table.c.run_id)
            .distinct()
            .join(call_table, calls.identity == table.c.call)
            .where(calls.run_id == run_id, table.c.run_id.in_(others))
        )
        found |= set(connection.scalars(users))
    named = select(run_table.c.name).where(run_table.c.id.in_(found)).order_by(run_table.c.name)
    return list(connection.scalars(named))


def _tables_with(*columns: str) -> list[Table]:
    """Return the tables that have these columns, those first that refer to others."""
    return [
        table
        for table in reversed(METADATA.sorted_tables)
        if all(column in table.c for column in columns)
    ]


def _delete_rows(connection: Connection, run_id: int, say: Say) -> int:
    """Delete what tables have of a run, and the run; return how many rows that were."""
    tables, rows = _tables_with("run_id"), 1
    for number, table in enumerate(tables):
        say(f"rows of {table.name}", number, len(tables))
        rows += connection.execute(delete(table).where(table.c.run_id == run_id)).rowcount
    connection.execute(delete(run_table).where(run_table.c.id == run_id))
    return rows
