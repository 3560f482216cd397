"""Notes on a neuron, which people leave from its page."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse

from db import notes
from db.notes import NewNote, NoteRefused
from db.session import transaction
from web.errors import Forbidden
from web.formats import neuron_address
from web.forms import FromHere
from web.pages.neuron import NEURON, Layer, Number
from web.reading import RunOf, settings_of

router = APIRouter()


@router.post(f"{NEURON}/notes", dependencies=[FromHere], include_in_schema=False)
def add_note(
    request: Request,
    run: RunOf,
    layer: Layer,
    neuron: Number,
    flag: Annotated[str, Form()] = "",
    text: Annotated[str, Form()] = "",
    author: Annotated[str, Form()] = "",
) -> RedirectResponse:
    """Store a note on a neuron, and go back to its page."""
    note = NewNote(
        run_id=run.id,
        layer=layer,
        neuron=neuron,
        flag=flag or None,
        text=text.replace("\r\n", "\n"),
        author=author.strip(),
    )
    try:
        with transaction(settings_of(request).engine) as connection:
            notes.add(connection, note)
    except NoteRefused as error:
        raise Forbidden(str(error), "Nothing was stored.", status=422) from error
    return RedirectResponse(f"{neuron_address(run.name, layer, neuron)}#notes", 303)
