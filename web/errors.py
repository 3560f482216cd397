"""Error pages: a sentence that says what went wrong with a request, and what to do about it."""

from dataclasses import dataclass

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from psycopg2.errors import InsufficientPrivilege
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from db.session import is_away, is_too_long
from web.faces import answer


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as a page shows it."""

    status: int
    sentence: str
    advice: str


class NotFound(Exception):
    """There is nothing at this address."""

    def __init__(self, sentence: str, advice: str) -> None:
        super().__init__(sentence)
        self.problem = Problem(404, sentence, advice)


class Forbidden(Exception):
    """The request is understood and not done."""

    def __init__(self, sentence: str, advice: str, status: int = 403) -> None:
        super().__init__(sentence)
        self.problem = Problem(status, sentence, advice)


def add_error_pages(app: FastAPI) -> None:
    """Give every error a page, and JSON where that is asked for."""
    app.add_exception_handler(NotFound, _own)
    app.add_exception_handler(Forbidden, _own)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(DBAPIError, _database)


def _show(request: Request, problem: Problem) -> Response:
    return answer(request, "problem.html", problem, status=problem.status)


def _own(request: Request, error: Exception) -> Response:
    assert isinstance(error, NotFound | Forbidden)
    return _show(request, error.problem)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return _show(request, Problem(404, "There is no such page.", "Runs are on the first page."))
    return _show(request, Problem(error.status_code, str(error.detail), "Nothing was done."))


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # Without the first part, "query" or "path", which says nothing to a person.
    wrong = [f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors()[:5]]
    return _show(request, Problem(422, "; ".join(wrong), "Correct the address and try again."))


def _database(request: Request, error: Exception) -> Response:
    assert isinstance(error, DBAPIError)
    if is_too_long(error):
        problem = Problem(504, "The database took too long to answer.", "Ask for less at once.")
    elif is_away(error):
        problem = Problem(503, "The database cannot be reached.", "Reload in a few seconds.")
    elif isinstance(error.orig, InsufficientPrivilege):
        problem = Problem(403, "This server may not store it.", "Its database role only reads.")
    else:
        # An error of this program: status 500 and a traceback in the log.
        raise error
    return _show(request, problem)
