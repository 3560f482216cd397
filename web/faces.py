"""The value of a page in two forms: HTML for people, JSON for programs."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request
from starlette.responses import HTMLResponse, Response

from db.json_values import to_json
from web.rendering import render

L = TypeVar("L", bound=Callable[..., Any])


def answer(
    request: Request,
    template: str,
    value: Any,
    status: int = 200,
    as_json: Callable[[Any], Any] = lambda value: value,
) -> Response:
    """Return a value as the request wants it: JSON for `.json` or by `Accept`, else HTML."""
    if _wants_json(request):
        return json_answer(as_json(value), status)
    return HTMLResponse(render(request, template, value), status, {"Vary": "Accept"})


def json_answer(value: Any, status: int = 200) -> Response:
    """Return a value as JSON."""
    # Or a cache could give a browser the JSON of the same address.
    headers = {"Vary": "Accept"}
    return Response(to_json(value), status, headers, media_type="application/json")


def _wants_json(request: Request) -> bool:
    if request.url.path.endswith(".json"):
        return True
    accepted = request.headers.get("accept", "")
    return "application/json" in accepted and "text/html" not in accepted


def page(
    router: APIRouter,
    path: str,
    template: str,
    value_type: Any,
    *,
    json: str = "",
    as_json: Callable[[Any], Any] = lambda value: value,
) -> Callable[[L], L]:
    """Show what a loader returns at `path` as HTML, and at `path`.json (or `json`) as JSON.

    The decorated loader takes its parameters as FastAPI routes do, and returns a `value_type`: a
    dataclass, or a list of them. The template gets it as `value`. Where it is more than
    JSON is to say, `as_json` returns what JSON says of it.
    """

    def register(load: L) -> L:
        loaded = Depends(load, scope="function")

        def show(request: Request, value: Annotated[Any, loaded]) -> Response:
            return answer(request, template, value, as_json=as_json)

        summary = (load.__doc__ or "").split("\n", 1)[0]
        # The JSON first: a parameter at the end of the other path would take `.json` with it.
        router.add_api_route(
            json or f"{path}.json",
            show,
            summary=summary,
            operation_id=load.__name__,
            response_class=Response,
            responses={200: {"model": value_type}},
        )
        router.add_api_route(path, show, include_in_schema=False, response_class=HTMLResponse)
        return load

    return register
