"""Load an export into the Postgres database of one's own Neuronpedia.

Unlike Neuronpedia's importer it needs no S3 bucket, and it loads scores and simulations. Existing
rows stay unchanged, so the command can be repeated.
"""

import gzip
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from db.session import transaction
from neurogloss.errors import InputError
from orchestrator.datasets.json_reader import Checked, parse
from orchestrator.datasets.neuronpedia.source import BOT

LINES_AT_ONCE = 1000

_METADATA = {
    "release": "SourceRelease",
    "model": "Model",
    "sourceset": "SourceSet",
    "source": "Source",
}
_BATCHES = {
    "features": "Neuron",
    "activations": "Activation",
    "explanations": "Explanation",
    "explanation-scores": "ExplanationScore",
    "explanation-activations": "ExplanationActivationV1",
}


def load(
    engine: Engine, root: Path, on_progress: Callable[[int, int], Any] = lambda done, total: None
) -> dict[str, int]:
    """Store an export; return the number of new rows by table.

    Raises:
        InputError: The folder is not a Neuronpedia export, a file is damaged, or the database is
            not a Neuronpedia database. Rows stored before the error stay.
    """
    sources = sorted(path.parent for path in root.glob("v1/*/*/source.jsonl"))
    if not sources:
        raise InputError(
            f"{root} has no v1/MODEL/LAYER-SET/source.jsonl: it is not a Neuronpedia export"
        )
    stored: dict[str, int] = {}
    try:
        columns = _columns(engine)
        for done, source in enumerate(sources):
            on_progress(done, len(sources))
            _load_source(engine, source, columns, stored)
    except DBAPIError as error:
        raise InputError(f"Neuronpedia's database: {str(error.orig).strip()}") from error
    on_progress(len(sources), len(sources))
    return stored


def _columns(engine: Engine) -> Mapping[str, set[str]]:
    """Return the columns of each table.

    Raises:
        InputError: The database is not Neuronpedia's, or its seed has not been run.
    """
    query = text("SELECT table_name, column_name FROM information_schema.columns")
    columns: dict[str, set[str]] = {}
    with transaction(engine) as connection:
        for table, column in connection.execute(query):
            columns.setdefault(table, set()).add(column)
        missing = [table for table in ("User", *_METADATA.values()) if table not in columns]
        if missing:
            raise InputError(
                f"the database has no table {missing[0]!r}: it is not a Neuronpedia database"
            )
        if not connection.scalar(text('SELECT 1 FROM "User" WHERE id = :id'), {"id": BOT}):
            raise InputError("Neuronpedia's database has no bot user yet: run its seed first")
    return columns


def _load_source(
    engine: Engine, source: Path, columns: Mapping[str, set[str]], stored: dict[str, int]
) -> None:
    with transaction(engine) as connection:
        for name, table in _METADATA.items():
            lines = list(_lines(source / f"{name}.jsonl"))
            _insert(connection, table, lines, columns, stored)
    for kind, table in _BATCHES.items():
        files = sorted((source / kind).glob("batch-*.jsonl.gz"))
        for file in files:
            lines_ = _lines(file)
            while chunk := list(islice(lines_, LINES_AT_ONCE)):
                # Committed chunk by chunk: a load that was interrupted finds its rows when it is
                # repeated.
                with transaction(engine) as connection:
                    _insert_named(connection, chunk, columns, stored)
                    _insert(connection, table, chunk, columns, stored)


def _lines(file: Path) -> Iterator[Checked]:
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                value = parse(line, f"{file}, line {number}")
                value.field("")  # raises if the line is not a JSON object
                yield value
    except (OSError, EOFError) as error:
        raise InputError(f"{file} cannot be read: {error}") from error


def _insert_named(
    connection: Connection,
    lines: list[Checked],
    columns: Mapping[str, set[str]],
    stored: dict[str, int],
) -> None:
    """Store the types and models that the lines refer to by name, before their foreign keys do."""
    about = {"description": "from neurogloss", "creatorName": "neurogloss"}
    for key, (table, owned) in _NAMED.items():
        names = sorted({line.field(key).text() for line in lines if line.field(key).value})
        for name in names:
            value = {"name": name, "displayName": name, **about}
            value |= {"creatorId": BOT} if owned else {}
            _insert(connection, table, [Checked(value, table)], columns, stored)


_NAMED = {
    "typeName": ("ExplanationType", True),
    "explanationScoreTypeName": ("ExplanationScoreType", True),
    "explanationScoreModelName": ("ExplanationScoreModel", False),
}


def _insert(
    connection: Connection,
    table: str,
    lines: list[Checked],
    columns: Mapping[str, set[str]],
    stored: dict[str, int],
) -> None:
    if not lines:
        return
    # Neuronpedia's schema changes: keys that this version of it has no column for are left out.
    # The intersection with real column names also makes it safe to put the names into the SQL.
    quote = connection.dialect.identifier_preparer.quote_identifier
    present = [key for key in lines[0].value if key in columns.get(table, set())]
    names = ", ".join(quote(name) for name in present)
    statement = text(
        f"INSERT INTO {quote(table)} ({names}) SELECT {names} "  # noqa: S608  (existing columns)
        f"FROM jsonb_populate_recordset(NULL::{quote(table)}, CAST(:lines AS jsonb)) "
        "ON CONFLICT DO NOTHING"
    )
    values = orjson.dumps([line.value for line in lines]).decode()
    count = connection.execute(statement, {"lines": values}).rowcount
    stored[table] = stored.get(table, 0) + count
