"""The heat map of a run: layers by blocks of neurons, coloured by one number."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from db.heat_map import HeatMapCell, heat_map
from db.runs import StoredRun
from web.formats import number, percent, usd

BLOCKS = 64  # of a layer, at most
STEPS = 10  # of a colour scale; style.css has as many colours
CELL_WIDTH, CELL_HEIGHT, MARGIN = 14, 12, 32


@dataclass(frozen=True, slots=True)
class Scale:
    """A number that cells are coloured by: its name, what it is, its digits, how it is taken.

    `is_signed` numbers have colours of two kinds, for below and above 0.
    """

    title: str
    about: str
    says: Callable[[float | None], str]
    value: Callable[[HeatMapCell], float | None]
    is_signed: bool = False
    top: float | None = None


SCALES: Mapping[str, Scale] = {
    "score": Scale("Score", "mean score", number, lambda cell: cell.score),
    "done": Scale("Done", "neurons that are done", percent, lambda c: c.done / c.n, top=1.0),
    "failed": Scale("Failed", "neurons that failed", percent, lambda cell: cell.failed / cell.n),
    "cost": Scale("Cost", "dollars a neuron", usd, lambda cell: cell.usd / cell.n),
    "gap": Scale(
        "Gap to lookup",
        "how far scores are above those of the lookup baseline, on average",
        number,
        lambda cell: cell.gap,
        is_signed=True,
    ),
}


@dataclass(frozen=True, slots=True)
class HeatMap:
    """The cells of a run, of `size` neurons each; of a run that has only some, fewer."""

    size: int
    layers: list[int]
    cells: list[HeatMapCell]

    def values(self) -> dict[str, Any]:
        """Return it in a few words for each cell, for scripts."""
        rows = [
            [c.layer, c.block, c.n, c.done, c.failed, c.score, c.gap, c.usd / c.n]
            for c in self.cells
        ]
        columns = ["layer", "block", "n", "done", "failed", "score", "gap", "usd"]
        return {"size": self.size, "layers": self.layers, "columns": columns, "cells": rows}


def load_heat_map(connection: Connection, run: StoredRun) -> HeatMap:
    """Return the heat map of a run."""
    size = max(1, math.ceil(run.neurons_per_layer / BLOCKS))
    cells = heat_map(connection, run.id, size)
    return HeatMap(size, sorted({cell.layer for cell in cells}), cells)


@dataclass(frozen=True, slots=True)
class LayerRow:
    """A layer as a row of a table: the same numbers, of all its neurons."""

    layer: int
    n: int
    done: float
    failed: int
    score: float | None
    gap: float | None
    usd: float


@dataclass(frozen=True, slots=True)
class HeatPicture:
    """A heat map as it is drawn.

    Attributes:
        paths: A colour's class, and all cells of this colour as one path, in cells from (0, 0).
        legend: A colour's class, and the value from which it stands.
        low: The value of the first colour.
        high: That of the last one.
    """

    scale: str
    size: int
    layers: list[int]
    columns: int
    paths: list[tuple[str, str]]
    legend: list[tuple[str, str]]
    low: str
    high: str
    rows: list[LayerRow]

    @property
    def width(self) -> int:
        """The width of all columns, in pixels."""
        return self.columns * CELL_WIDTH

    @property
    def height(self) -> int:
        """The height of all rows, in pixels."""
        return len(self.layers) * CELL_HEIGHT


def draw(heat: HeatMap, name: str) -> HeatPicture:
    """Return a heat map as it is drawn in one of SCALES."""
    scale = SCALES[name]
    low, high = _range(scale, [scale.value(cell) for cell in heat.cells])
    edges = [low + (high - low) * step / STEPS for step in range(STEPS)]
    kind = "gap" if scale.is_signed else "heat"
    return HeatPicture(
        scale=name,
        size=heat.size,
        layers=heat.layers,
        columns=max((cell.block for cell in heat.cells), default=0) + 1,
        paths=_paths(heat, scale, kind, low, high),
        legend=[(f"{kind}{step}", scale.says(edge)) for step, edge in enumerate(edges)],
        low=scale.says(low),
        high=scale.says(high),
        rows=_rows(heat),
    )


def _range(scale: Scale, values: Sequence[float | None]) -> tuple[float, float]:
    """Return the values of the first and the last colour, of few digits."""
    known = [value for value in values if value is not None]
    if scale.top is not None:
        return 0.0, scale.top
    high = _rounded_up(
        max(map(abs, known), default=0.0) if scale.is_signed else max(known, default=0.0)
    )
    return (-high if scale.is_signed else 0.0), high


def _rounded_up(value: float) -> float:
    if value <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    # A maximum that is above a round number by an error of rounding must not make the scale longer.
    return next(unit * factor for factor in (1, 2, 4, 5, 8, 10) if unit * factor >= value * 0.999)


def _paths(
    heat: HeatMap, scale: Scale, kind: str, low: float, high: float
) -> list[tuple[str, str]]:
    places = {layer: row for row, layer in enumerate(heat.layers)}
    paths: dict[str, list[str]] = defaultdict(list)
    for cell in heat.cells:
        value = scale.value(cell)
        step = None if value is None else int(STEPS * (value - low) / (high - low))
        name = "none" if step is None else f"{kind}{min(STEPS - 1, max(0, step))}"
        # One path for all cells of a colour, since thousands of elements make a page slow.
        paths[name].append(f"M{cell.block} {places[cell.layer]}h1v1h-1z")
    return [(name, "".join(squares)) for name, squares in sorted(paths.items())]


def _rows(heat: HeatMap) -> list[LayerRow]:
    layers: dict[int, list[HeatMapCell]] = defaultdict(list)
    for cell in heat.cells:
        layers[cell.layer].append(cell)
    return [_row(layer, cells) for layer, cells in sorted(layers.items())]


def _row(layer: int, cells: Sequence[HeatMapCell]) -> LayerRow:
    n = sum(cell.n for cell in cells)
    return LayerRow(
        layer,
        n,
        sum(cell.done for cell in cells) / n,
        sum(cell.failed for cell in cells),
        _mean([(cell.score, cell.scored) for cell in cells]),
        _mean([(cell.gap, cell.scored) for cell in cells]),
        sum(cell.usd for cell in cells) / n,
    )


def _mean(weighted: Sequence[tuple[float | None, int]]) -> float | None:
    known = [(value, weight) for value, weight in weighted if value is not None and weight]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else None
