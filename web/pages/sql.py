"""The page for queries: saved ones, and a person's own."""

import csv
import io
import time
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from operator import attrgetter
from threading import BoundedSemaphore
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from db.read_only import read_only_rows, shown
from db.run_list import names
from db.saved_queries import SavedQuery, saved_queries
from neurogloss.errors import InputError
from web.faces import page
from web.formats import cell
from web.forms import is_from_elsewhere
from web.reading import Reading, settings_of

router = APIRouter()

MOST_ROWS = 10_000  # that a browser shows without standing still
LONGEST_VALUE = 65_536  # bytes of one value that this process takes
ON_PAGE = 60_000
"""Characters of results that a page shows."""

# Each holds a connection, and memory for its rows.
_running = BoundedSemaphore(2)

NO_READER = (
    "This server takes no queries: its database user could do more than read. "
    "Make the role with `neurogloss migrate --roles`, and start the server with DATABASE_URL "
    "naming a user who is no superuser, such as neurogloss_reader."
)
ASK_HERE = "Another site's page led here with this query: run it if you want it."
BUSY = "Two queries are running already. Try again when one has ended."


@dataclass(frozen=True, slots=True)
class SqlResult:
    """What a query returned; `is_cut` says that there are more rows."""

    columns: list[str]
    rows: list[tuple[Any, ...]]
    is_cut: bool
    seconds: float

    def on_page(self) -> list[tuple[Any, ...]]:
        """Return the first rows, as many as are not too much for a page."""
        sizes = accumulate(sum(30 + len(cell(value)) for value in row) for row in self.rows)
        return [row for row, size in zip(self.rows, sizes, strict=True) if size < ON_PAGE]


@dataclass(frozen=True, slots=True)
class SqlPage:
    """A query and what it returned, or why it was not run; and the queries to begin with.

    `saved` are about `run`, and those that compare about `other` too.
    """

    query: str
    result: SqlResult | None
    problem: str | None
    runs: list[str]
    run: str | None
    other: str | None
    saved: list[SavedQuery] = field(repr=False)

    def sections(self) -> list[tuple[str, list[SavedQuery]]]:
        """Return the saved queries by section."""
        parts = groupby(self.saved, attrgetter("section"))
        return [(section, list(queries)) for section, queries in parts]


def _answer(request: Request, query: str, limit: int) -> tuple[SqlResult | None, str | None]:
    """Return what a query returned, or why there is nothing."""
    if not query.strip():
        return None, None
    # A link on another site could otherwise make the database work as long as a query may take.
    if is_from_elsewhere(request):
        return None, ASK_HERE
    reader = settings_of(request).reader
    if reader is None:
        return None, NO_READER
    # Refused at once: a waiting request would hold one of the threads that pages need.
    if not _running.acquire(blocking=False):
        return None, BUSY
    began = time.monotonic()
    try:
        found = read_only_rows(reader, query, limit, LONGEST_VALUE)
    except InputError as error:
        return None, str(error)
    finally:
        _running.release()
    seconds = time.monotonic() - began
    return SqlResult(found.columns, found.rows, found.is_cut, seconds), None


QueryText = Annotated[str, Query(max_length=10_000, description="One statement that only reads.")]
Limit = Annotated[int, Query(ge=1, le=MOST_ROWS, description="The most rows to return.")]


@page(router, "/sql", "sql.html", SqlPage)
def sql_page(
    request: Request,
    connection: Reading,
    query: QueryText = "",
    run: str | None = None,
    limit: Limit = 200,
) -> SqlPage:
    """Return a query's rows, and saved queries about a run: by default the latest."""
    known = names(connection)
    about = run if run in known else (known[0] if known else None)
    other = next((name for name in known if name != about), None)
    saved = [_about(each, about, other) for each in saved_queries()]
    return SqlPage(query, *_answer(request, query, limit), known, about, other, saved)


def _about(query: SavedQuery, run: str | None, other: str | None) -> SavedQuery:
    if run is None:
        return query
    return SavedQuery(query.section, query.title, query.about(run, other))


@router.get("/sql.csv", summary="Return a query's rows as CSV.", response_class=Response)
def sql_csv(request: Request, query: QueryText, limit: Limit = MOST_ROWS) -> Response:
    """Return rows as comma-separated values, NULL as nothing; or the reason why not, as text."""
    result, problem = _answer(request, query, limit)
    if result is None:
        return Response(problem or "The query is empty.", 422, media_type="text/plain")
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(result.columns)
    writer.writerows(["" if v is None else shown(v) for v in row] for row in result.rows)
    headers = {"Content-Disposition": 'attachment; filename="query.csv"'}
    # What one cannot encode (half of a surrogate pair) Postgres does not store either.
    return Response(text.getvalue(), headers=headers, media_type="text/csv")
