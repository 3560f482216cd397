"""Changes to a run, where `serve --allow-control` lets pages make them."""

import secrets
from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse

from neurogloss.errors import InputError
from web.controls import NeuronOf
from web.errors import Forbidden
from web.formats import neuron_address, run_address
from web.forms import Control, FromHere
from web.pages.neuron import NEURON, Layer, Number
from web.reading import RunOf

router = APIRouter()
MOST_SAID = 100  # sentences that wait to be shown; the oldest go first

Word = Annotated[str, Form(max_length=1000)]


def _do(request: Request, address: str, change: Callable[[], str]) -> RedirectResponse:
    """Make a change and go back to a page, which then says what was done."""
    try:
        sentence = change()
    except InputError as error:
        raise Forbidden(str(error), "Nothing was changed.", status=409) from error
    return _back(request, address, sentence)


def _back(request: Request, address: str, sentence: str) -> RedirectResponse:
    said: dict[str, str] = request.app.state.said
    while len(said) >= MOST_SAID:
        said.pop(next(iter(said)), None)
    # By a name that nobody can guess: no link from elsewhere can make a page say something.
    name = secrets.token_urlsafe(12)
    said[name] = sentence
    # With status 303 a reload of the page does not send the form again.
    return RedirectResponse(f"{address}?said={name}", 303)


@router.post("/runs/{run}/control", dependencies=[FromHere], include_in_schema=False)
def control_run(
    request: Request,
    controls: Control,
    run: RunOf,
    action: Annotated[Literal["pause", "resume", "retry", "set"], Form()],
    stage: Word = "",
    failure_class: Word = "",
    assignments: Word = "",
) -> RedirectResponse:
    """Pause a run, let it go on, try again what failed, or change its limits."""
    changes: dict[str, Callable[[], str]] = {
        "pause": lambda: controls.pause(run.name),
        "resume": lambda: controls.resume(run.name),
        "retry": lambda: controls.retry(run.name, stage or None, failure_class or None),
        "set": lambda: controls.set_limits(run.name, assignments.split()),
    }
    return _do(request, run_address(run.name), changes[action])


@router.post(f"{NEURON}/control", dependencies=[FromHere], include_in_schema=False)
def control_neuron(
    request: Request,
    controls: Control,
    run: RunOf,
    layer: Layer,
    neuron: Number,
    action: Annotated[Literal["retry", "explain", "simulate"], Form()],
) -> RedirectResponse:
    """Try a neuron again that failed, or explain or simulate it again."""
    place = NeuronOf(layer, neuron)

    def change() -> str:
        if action == "retry":
            return controls.retry(run.name, neuron=place)
        return controls.redo(run.name, action, place)

    return _do(request, neuron_address(run.name, layer, neuron), change)


@router.post(f"{NEURON}/score", dependencies=[FromHere], include_in_schema=False)
def score_own(
    request: Request,
    controls: Control,
    run: RunOf,
    layer: Layer,
    neuron: Number,
    explanation: Annotated[str, Form(max_length=10_000)] = "",
) -> RedirectResponse:
    """Score an explanation that a person wrote, in a run of its own, and show its page."""
    try:
        own = controls.score(run.name, NeuronOf(layer, neuron), explanation.replace("\r\n", "\n"))
    except InputError as error:
        raise Forbidden(str(error), "Nothing was changed.", status=409) from error
    return _back(request, neuron_address(own.run, layer, neuron), own.sentence)
