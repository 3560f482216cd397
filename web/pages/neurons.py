"""The neurons of a run as a list: filtered, sorted, searched by words, as HTML, JSON and CSV."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model
from starlette.responses import StreamingResponse

from db import neuron_list
from db.neuron_filter import BANDS, STATES, Band, NeuronFilter, with_words_counted
from db.neuron_list import PLACE, SORTS, ListedNeuron, NeuronOrder
from db.session import snapshot
from web.errors import Forbidden
from web.faces import page
from web.reading import Reading, RunOf, settings_of

router = APIRouter()
AT_ONCE = 500  # lines of a CSV file that are sent together
COUNTED = 3_000  # a join with common words takes ten times as long for 10,000


def _empty_is_none(value: Any) -> Any:
    return None if value == "" else value  # a field of a form that was left empty


Number = Annotated[float | None, BeforeValidator(_empty_is_none)]
Layer = Annotated[Annotated[int, Field(ge=0, le=2**15 - 1)] | None, BeforeValidator(_empty_is_none)]
Place = Annotated[int, Query(ge=0, le=2**31 - 1)]


class _Query(BaseModel):
    """Which neurons, in which order; each number of `BANDS` has a `_min` and a `_max` as well."""

    model_config = ConfigDict(allow_inf_nan=False)

    layer: list[Layer] = []
    start: Place = 0
    stop: Place = 2**31 - 1
    state: list[Literal["", *STATES]] = []  # type: ignore[valid-type]
    words: Annotated[str, Query(max_length=1000)] = ""
    sort: Literal[*SORTS] = PLACE  # type: ignore[valid-type]
    desc: bool = False
    cursor: Annotated[str, Query(max_length=500)] | None = None

    def chosen(self) -> NeuronFilter:
        """Return the part that chooses neurons."""
        bands = {
            name: Band(getattr(self, f"{name}_min"), getattr(self, f"{name}_max")) for name in BANDS
        }
        return NeuronFilter(
            layers=tuple(layer for layer in self.layer if layer is not None),
            start=self.start,
            stop=self.stop,
            states=tuple(state for state in self.state if state),
            bands={name: band for name, band in bands.items() if band != Band()},
            words=self.words,
        )

    def order(self) -> NeuronOrder:
        """Return the part that sorts them."""
        return NeuronOrder(self.sort, self.desc)


_ENDS: dict[str, Any] = {
    f"{name}_{end}": (Number, None) for name in BANDS for end in ("min", "max")
}
ListQuery = create_model("ListQuery", __base__=_Query, **_ENDS)


@dataclass(frozen=True, slots=True)
class NeuronsPage:
    """Neurons of a run, with cursors of the pages before and after.

    `count` is how many the whole list has; where it is `at_most`, there may be more.
    """

    run: str
    layers: int
    neurons: list[ListedNeuron]
    count: int
    at_most: int
    previous: str | None
    next: str | None
    asked: dict[str, Any]

    @property
    def has_more(self) -> bool:
        """Whether it is filtered by another number than the score."""
        own = ("score_min", "score_max")
        return any(
            key.endswith(("_min", "_max")) and value is not None and key not in own
            for key, value in self.asked.items()
        )

    @property
    def is_filtered(self) -> bool:
        """Whether it is asked for some neurons only."""
        return self.asked != ListQuery().model_dump()


@router.get("/runs/{run}/neurons.csv", include_in_schema=False)
def neurons_as_csv(
    request: Request,
    run: RunOf,
    asked: Annotated[ListQuery, Query()],  # type: ignore[valid-type]
) -> StreamingResponse:
    """Return the whole list as CSV, as it is read."""
    name = f"neurons-{run.id}.csv"
    return StreamingResponse(
        _lines(request, run.id, asked),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _lines(request: Request, run_id: int, asked: _Query) -> Iterator[str]:
    names = [field.name for field in fields(ListedNeuron)]
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(names)
    # Its own transaction, open while the file is sent: the one of a request has ended by then.
    with snapshot(settings_of(request).engine) as connection:
        listed = neuron_list.all_neurons(connection, run_id, asked.chosen(), asked.order())
        for number, neuron in enumerate(listed):
            writer.writerow([getattr(neuron, name) for name in names])
            if number % AT_ONCE == 0:
                yield buffer.getvalue()
                buffer.seek(0)
                buffer.truncate()
        yield buffer.getvalue()


@page(router, "/runs/{run}/neurons", "neurons.html", NeuronsPage)
def neurons_page(
    connection: Reading,
    run: RunOf,
    asked: Annotated[ListQuery, Query()],  # type: ignore[valid-type]
) -> NeuronsPage:
    """Return a page of the neurons of a run that are asked for."""
    query: _Query = asked
    chosen = with_words_counted(connection, run.id, query.chosen())
    try:
        found = neuron_list.neuron_page(connection, run.id, chosen, query.order(), query.cursor)
    except ValueError as error:
        raise Forbidden(f"{error}.", "Begin with the first page of the list.", 422) from error
    # A list that is sorted by a number has the neurons that have it.
    sorted_by = {} if query.sort == PLACE else {query.sort: Band()}
    counted = replace(chosen, bands=sorted_by | dict(chosen.bands))
    return NeuronsPage(
        run=run.name,
        layers=run.n_layers,
        neurons=found.neurons,
        count=neuron_list.count_neurons(connection, run.id, counted, COUNTED),
        at_most=COUNTED,
        previous=found.previous,
        next=found.next,
        asked=query.model_dump(),
    )
