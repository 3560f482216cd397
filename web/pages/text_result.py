"""Which neurons answer to a text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from sqlalchemy import Connection

from db import texts
from db.runs import StoredRun
from db.text_results import Component, NeuronEffects, TextResult
from db.texts import TextRequest
from neurogloss.neurons.grouping import group_by_words
from web.errors import NotFound
from web.faces import page
from web.pages.text import asked_value
from web.reading import Reading, RunOf

router = APIRouter()

SHOWN = 25
"""Neurons, and components, of a page; `?top=0` shows all that are stored."""

ABLATED = 10
"""Neurons that one press of the button sets to the baseline."""

Column = Literal["estimated_effect", "direct_effect", "activation"]


@dataclass(frozen=True, slots=True)
class NeuronDifference:
    """A neuron in two texts: its effects in each, and by how much they differ."""

    layer: int
    neuron: int
    explanation: str | None
    here: float
    there: float

    @property
    def difference(self) -> float:
        """The effect in the other text less that in this one."""
        return self.there - self.here


@dataclass(frozen=True, slots=True)
class SharedWord:
    """Listed neurons whose explanations share a word, as (layer, neuron), and their effect."""

    word: str
    neurons: list[tuple[int, int]]
    effect: float


@dataclass(frozen=True, slots=True)
class TextPage:
    """What was found about a text.

    Attributes:
        request: What was asked, and how far it is.
        result: As `neurogloss text --json` prints it, ranked by `by`; None until it is done.
        groups: The ranked neurons by what their explanations have in common.
        largest: The neurons of the largest effect on the target, as a form names them.
        other: Another text of the same run, where two are compared.
        differences: The neurons of both, those first that differ most.
    """

    run: str
    request: dict[str, Any]
    result: dict[str, Any] | None
    by: Column
    top: int
    waiting: int
    groups: list[SharedWord]
    largest: str
    other: dict[str, Any] | None
    differences: list[NeuronDifference]


@page(router, "/runs/{run}/text/{number}", "text.html", TextPage)
def text_page(
    connection: Reading,
    run: RunOf,
    number: int,
    by: Column = "estimated_effect",
    top: Annotated[int, Query(ge=0, le=1000)] = SHOWN,
    other: int | None = None,
) -> TextPage:
    """Return which neurons answer to a text, ranked by an effect."""
    request = _request(connection, run, number)
    against = None if other is None else _request(connection, run, other)
    found = request.result
    shown = None if found is None else ranked(found, by, top)
    return TextPage(
        run=run.name,
        request=asked_value(request),
        result=None if shown is None else shown.as_json(),
        by=by,
        top=top,
        waiting=texts.waiting(connection, before=number) if request.is_open else 0,
        groups=[] if shown is None else groups(shown.neurons),
        largest=_named(found) if found else "",
        other=None if against is None else asked_value(against),
        differences=differences(found, against.result if against else None)[: top or None],
    )


def _request(connection: Connection, run: StoredRun, number: int) -> TextRequest:
    try:
        request = texts.load_request(connection, number)
    except LookupError:
        # Answered as a text of another run is, about which nothing is told here.
        request = None
    if request is None or request.run_id != run.id:
        raise NotFound(
            f"Run {run.name!r} was asked no text {number}.", "Its texts are on the page Text."
        )
    return request


def _size(by: Column) -> Callable[[Component | NeuronEffects], float]:
    return lambda row: abs(getattr(row, by) or 0.0)


def ranked(result: TextResult, by: Column, top: int) -> TextResult:
    """Return the `top` largest rows by a column; 0 is all that are stored."""
    largest = slice(top or None)
    return replace(
        result,
        neurons=sorted(result.neurons, key=_size(by), reverse=True)[largest],
        components=sorted(result.components, key=_size(by), reverse=True)[largest],
    )


def groups(neurons: Sequence[NeuronEffects]) -> list[SharedWord]:
    """Return neurons by a word that their explanations share, without those that share none."""
    found = group_by_words([n.explanation for n in neurons], [n.effect for n in neurons])
    return [
        SharedWord(
            group.word,
            [(neurons[place].layer, neurons[place].neuron) for place in group.members],
            sum(neurons[place].effect for place in group.members),
        )
        for group in found
        if group.word is not None
    ]


def _named(result: TextResult) -> str:
    """Return the neurons whose ablation should lower the target most, as the form names them."""
    helpful = sorted(result.neurons, key=lambda neuron: neuron.effect, reverse=True)[:ABLATED]
    return ",".join(f"{n.layer}:{n.neuron}" for n in helpful if n.effect > 0)


def differences(here: TextResult | None, there: TextResult | None) -> list[NeuronDifference]:
    """Return the neurons that are listed in either of two texts; an effect that is not is 0."""
    if here is None or there is None:
        return []
    mine, theirs = ({(n.layer, n.neuron): n for n in r.neurons} for r in (here, there))
    rows = [
        NeuronDifference(
            *place,
            (mine.get(place) or theirs[place]).explanation,
            mine[place].effect if place in mine else 0.0,
            theirs[place].effect if place in theirs else 0.0,
        )
        for place in mine.keys() | theirs.keys()
    ]
    return sorted(rows, key=lambda row: (-abs(row.difference), row.layer, row.neuron))
