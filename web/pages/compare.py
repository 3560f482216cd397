"""Two runs beside each other."""

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Request
from starlette.responses import RedirectResponse, Response

from db.run_list import names
from web.errors import NotFound
from web.faces import page
from web.pages.plots import PlotLink, Theme, plot_link, svg_answer
from web.plots.cache import Keeper, Kept
from web.plots.comparison import DRAWINGS, compared_runs
from web.reading import Reading, find_run

router = APIRouter()


@dataclass(frozen=True, slots=True)
class ChoicePage:
    """The runs of which two can be compared."""

    runs: list[str]


@dataclass(frozen=True, slots=True)
class ComparisonPage:
    """Two runs, a and b.

    `report` is what `neurogloss compare --json` prints.
    """

    a: str
    b: str
    report: dict[str, Any]
    plots: list[PlotLink]


@page(router, "/compare", "compare_choice.html", ChoicePage)
def choice(connection: Reading) -> ChoicePage:
    """Return the runs of which two can be compared."""
    return ChoicePage(names(connection))


@router.get("/compare/chosen", include_in_schema=False)
def chosen(a: str, b: str) -> RedirectResponse:
    """Go to the comparison that a form asks for."""
    return RedirectResponse(_address(a, b), status_code=303)


def _address(a: str, b: str) -> str:
    return f"/compare/{quote(a, safe='')}/{quote(b, safe='')}"


Name = Annotated[str, Path(description="The name of a run.")]


def _compared(request: Request, connection: Reading, a: Name, b: Name) -> Kept:
    runs = find_run(connection, a), find_run(connection, b)
    keeper: Keeper = request.app.state.keeper
    return keeper.get("compared", runs, lambda other: compared_runs(other, *runs), DRAWINGS)


Compared = Annotated[Kept, Depends(_compared, scope="function")]


@page(router, "/compare/{a}/{b}", "compare.html", ComparisonPage)
def comparison(compared: Compared, a: str, b: str) -> ComparisonPage:
    """Return two runs as wholes, by layer, and the neurons whose scores differ most."""
    plots = [plot_link(_address(a, b), drawing) for drawing in DRAWINGS]
    return ComparisonPage(a, b, compared.value.report, plots)


@router.get("/compare/{a}/{b}/{name}.svg", summary="Return a plot of two runs as SVG.")
def comparison_svg(
    request: Request, compared: Compared, name: str, theme: Theme = "light"
) -> Response:
    """Return a plot of two runs."""
    if name not in compared.svgs:
        raise NotFound(f"There is no plot {name!r}.", f"There are {', '.join(compared.svgs)}.")
    return svg_answer(request, compared.svgs[name][theme])
