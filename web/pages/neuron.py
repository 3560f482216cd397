"""A neuron: its explanation, and what is real beside what was simulated."""

from operator import attrgetter
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from db import neuron_place
from db.neuron_value import NeuronValue, neuron_value
from db.runs import StoredRun
from web.errors import NotFound
from web.faces import page
from web.formats import run_address
from web.neuron_file import neuron_file
from web.neuron_view import NeuronView, Shown
from web.reading import Reading, RunOf, settings_of

router = APIRouter()
NEURON = "/runs/{run}/neurons/{layer}/{neuron}"

Layer = Annotated[int, Path(ge=0, le=2**15 - 1)]
Number = Annotated[int, Path(ge=0, le=2**31 - 1)]
Band = Annotated[float, Query(ge=-1, le=1)]
MANY = 1000  # records of one kind: all


def _load(
    connection: Connection, run: StoredRun, layer: int, neuron: int, kinds: dict[str, int]
) -> NeuronValue:
    value = neuron_value(connection, run, layer, neuron, kinds)
    if value is None:
        raise NotFound(
            f"Run {run.name} has no neuron {neuron} in layer {layer}.",
            "The list of its neurons has all that it is about.",
        )
    return value


@router.get(f"{NEURON}.html", include_in_schema=False)
def neuron_as_file(connection: Reading, run: RunOf, layer: Layer, neuron: Number) -> Response:
    """Return a neuron as one HTML file that needs no server."""
    value = _load(connection, run, layer, neuron, {"top": MANY})
    name = f"neuron-{layer}-{neuron}.html"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(neuron_file(value), headers=headers, media_type="text/html")


@router.get(f"{NEURON}/export/{{form}}", include_in_schema=False)
def neuron_as_export(
    request: Request,
    connection: Reading,
    run: RunOf,
    layer: Layer,
    neuron: Number,
    form: Literal["openai", "neuronpedia"],
) -> Response:
    """Return a neuron as JSON in the format of an export."""
    write = settings_of(request).neuron_as
    content = None if write is None else write(connection, run.id, layer, neuron, form)
    if content is None:
        raise NotFound("There is nothing to export.", "The neuron has no records yet.")
    name = f"neuron-{layer}-{neuron}-{form}.json"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, headers=headers, media_type="application/json")


@page(router, NEURON, "neuron.html", NeuronValue, as_json=attrgetter("value"))
def neuron_page(
    connection: Reading,
    run: RunOf,
    layer: Layer,
    neuron: Number,
    kind: Literal["top", "random", "bucket"] = "top",
    form: Literal["snippet", "stacked", "full"] = "snippet",
    numbers: Annotated[int | None, Query(ge=0)] = None,
) -> NeuronView:
    """Return all that is known of a neuron, with its records of one kind."""
    value = _load(connection, run, layer, neuron, {kind: MANY})
    return NeuronView(value, Shown(kind, form, numbers))


@router.get("/runs/{run}/neurons/random", include_in_schema=False)
def random_neuron(
    connection: Reading, run: RunOf, low: Band = -1.0, high: Band = 1.0
) -> RedirectResponse:
    """Go to a neuron by chance; where a band of scores is named, to one that scores within it."""
    is_any = (low, high) == (-1.0, 1.0)
    place = (
        neuron_place.any_neuron(connection, run.id, run.n_layers, run.neurons_per_layer)
        if is_any
        else neuron_place.any_in_band(connection, run.id, *sorted((low, high)))
    )
    if place is None:
        raise NotFound(
            f"No neuron of run {run.name} has a score from {low:g} to {high:g}.",
            "Ask for a wider band, or wait until more are scored.",
        )
    band = "" if is_any else f"?low={low:g}&high={high:g}"
    address = f"{run_address(run.name)}/neurons/{place.layer}/{place.neuron}{band}"
    return RedirectResponse(address, 303)
