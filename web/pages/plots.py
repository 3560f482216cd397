"""The plots of a run: a page of all, and each as SVG and as the values that it shows."""

import hashlib
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Request
from starlette.responses import Response

from web.errors import NotFound
from web.faces import json_answer, page
from web.formats import run_address
from web.plots.cache import Keeper, Kept
from web.plots.catalog import PLOTS
from web.plots.style import Drawing
from web.reading import RunOf

router = APIRouter()

Theme = Literal["light", "dark"]

# It is shown as an image, which has a style of its own; as a page of its own it may do no more.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


@dataclass(frozen=True, slots=True)
class PlotLink:
    """A plot: its title, what it says, and its address, to which `.svg` or `.json` is added."""

    name: str
    title: str
    says: str
    address: str


@dataclass(frozen=True, slots=True)
class PlotsPage:
    """The plots of a run."""

    run: str
    plots: list[PlotLink]


@page(router, "/runs/{run}/plots", "plots.html", PlotsPage)
def plots_page(run: RunOf) -> PlotsPage:
    """Return where the plots of a run are."""
    return PlotsPage(run.name, plot_links(run.name))


def plot_links(run: str) -> list[PlotLink]:
    """Return the plots of a run of this name."""
    base = f"{run_address(run)}/plots"
    return [plot_link(base, plot.drawing) for plot in PLOTS.values()]


def plot_link(base: str, drawing: Drawing) -> PlotLink:
    """Return a plot that is below an address."""
    address = f"{base}/{drawing.name}"
    return PlotLink(drawing.name, drawing.title, drawing.says, address)


def _plot(
    request: Request, run: RunOf, name: Annotated[str, Path(description="Its name.")]
) -> Kept:
    if name not in PLOTS:
        raise NotFound(f"There is no plot {name!r}.", f"There are {', '.join(PLOTS)}.")
    keeper: Keeper = request.app.state.keeper
    return keeper.plot(run, name)


Drawn = Annotated[Kept, Depends(_plot, scope="function")]


@router.get("/runs/{run}/plots/{name}.json", summary="Return what a plot of a run shows.")
def plot_values(plot: Drawn) -> Response:
    """Return the values of a plot."""
    return json_answer(plot.value)


@router.get("/runs/{run}/plots/{name}.svg", summary="Return a plot of a run as SVG.")
def plot_svg(request: Request, plot: Drawn, name: str, theme: Theme = "light") -> Response:
    """Return a plot, unless the browser has it."""
    return svg_answer(request, plot.svgs[name][theme])


def svg_answer(request: Request, svg: str) -> Response:
    """Return SVG, unless the browser has it."""
    content = svg.encode()
    headers = {
        "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
        # The browser may keep it and has to ask whether it is still the same, by its ETag.
        "Cache-Control": "private, no-cache",
        "Content-Security-Policy": _POLICY,
    }
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type="image/svg+xml")
