"""Texts that people ask about: the form, what was asked lately, and a new one."""

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse

from db import texts
from db.session import transaction
from db.texts import NewTextRequest, TextRefused, TextRequest
from web.errors import Forbidden
from web.faces import page
from web.forms import FromHere
from web.reading import Reading, RunOf, settings_of

router = APIRouter()


@dataclass(frozen=True, slots=True)
class TextsPage:
    """What a run was asked lately, the newest first, and what the form begins with."""

    run: str
    recent: list[dict[str, Any]]
    text: str
    target: str
    versus: str
    max_tokens: int = texts.MAX_TOKENS
    max_characters: int = texts.MAX_CHARACTERS


def asked_value(request: TextRequest) -> dict[str, Any]:
    """Return what was asked and how far it is, in the types of JSON; not what was found."""
    value = asdict(replace(request, result=None)) | {"seconds": request.seconds}
    return {key: value[key] for key in value if key != "result"}


@page(router, "/runs/{run}/text", "texts.html", TextsPage)
def texts_page(
    connection: Reading, run: RunOf, text: str = "", target: str = "", versus: str = ""
) -> TextsPage:
    """Return the texts that a run was asked about lately."""
    recent = texts.recent_requests(connection, run.id)
    return TextsPage(run.name, [asked_value(asked) for asked in recent], text, target, versus)


@router.post("/runs/{run}/text", dependencies=[FromHere], include_in_schema=False)
def submit_text(
    request: Request,
    run: RunOf,
    text: Annotated[str, Form()],
    target: Annotated[str, Form()] = "",
    versus: Annotated[str, Form()] = "",
    baseline: Annotated[str, Form()] = "mean",
    ablate: Annotated[str, Form()] = "",
) -> RedirectResponse:
    """Store a text for a worker, and show its page."""
    try:
        asked = NewTextRequest(
            run_id=run.id,
            # Browsers send line breaks of a field as CR LF, which models have hardly seen.
            text=text.replace("\r\n", "\n"),
            target=target or None,
            versus=versus or None,
            baseline=baseline,
            ablate=texts.ablated_from(ablate) if ablate.strip() else (),
            requested_by=_requester(request),
        )
        with transaction(settings_of(request).engine) as connection:
            number = texts.submit(connection, asked)
    except TextRefused as error:
        raise Forbidden(str(error), "Go back, change it and send it again.", 422) from error
    return RedirectResponse(f"/runs/{quote(run.name, safe='')}/text/{number}", status_code=303)


def _requester(request: Request) -> str:
    return f"web {request.client.host if request.client else ''}"[:100]
