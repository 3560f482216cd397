"""The neurons of a run whose explanations are nearest in meaning to a text."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from db import embeddings
from db.embeddings import NearNeuron, RunEmbedding
from db.session import snapshot
from neurogloss.errors import InputError
from web.faces import page
from web.reading import find_run, settings_of
from web.settings import WebSettings

router = APIRouter()
MOST = 200


@dataclass(frozen=True, slots=True)
class MeaningPage:
    """The neurons that were found, the nearest first.

    `model` embeds the run's explanations; None where they are not embedded. `problem` says why
    nothing could be looked for.
    """

    run: str
    like: str
    model: str | None
    neurons: list[NearNeuron]
    problem: str | None = None


@page(router, "/runs/{run}/meaning", "meaning.html", MeaningPage)
def meaning_page(
    request: Request,
    run: Annotated[str, Path(description="Its name.")],
    like: Annotated[str, Query(max_length=1000)] = "",
    n: Annotated[int, Query(ge=1, le=MOST)] = 50,
) -> MeaningPage:
    """Return the neurons whose explanations are nearest in meaning to a text."""
    settings = settings_of(request)
    # Transactions of its own: none is open while the endpoint is waited for.
    with snapshot(settings.engine) as connection:
        found = find_run(connection, run)
        by = embeddings.find(connection, found.id)
    if by is None or not like.strip():
        return MeaningPage(run, like, None if by is None else by.model, [])
    try:
        return MeaningPage(run, like, by.model, _nearest(settings, by, like.strip(), n))
    except InputError as error:
        return MeaningPage(run, like, by.model, [], str(error))


def _nearest(settings: WebSettings, by: RunEmbedding, like: str, n: int) -> list[NearNeuron]:
    if settings.embed_query is None:
        raise InputError("this server embeds no texts")
    vector = settings.embed_query(by, like)
    with snapshot(settings.engine) as connection:
        return embeddings.nearest(connection, by, vector, n)
