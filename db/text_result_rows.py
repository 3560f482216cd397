"""Storing and loading the results of text requests.

Sums and the largest components are stored. Explanations and scores are not: they are joined when a
result is loaded, so that an old result shows what its run knows of the neurons now.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from sqlalchemy import Connection, insert, select, text

from db.codec import FLOAT16
from db.tables.texts import text_result_table
from db.text_results import (
    Component,
    GroupSum,
    NeuronEffects,
    TextAblation,
    TextResult,
    TokenLogit,
)
from neurogloss.neurons.codec import unpack_array
from neurogloss.neurons.selection import QUANTILES

Place = tuple[int, int]
"""The (layer, neuron) of a neuron."""

_EFFECTS = ("direct_effect", "estimated_effect")
_COMPONENT = ("kind", "layer", "index", "position", "activation", *_EFFECTS)
_NEURON = ("layer", "neuron", "activation", "peak", "max_activation", *_EFFECTS)


def save_result(connection: Connection, request_id: int, result: TextResult) -> None:
    """Store a result, without what is joined to it when it is loaded."""
    packed = {
        "tokens": [_storable(token) for token in result.tokens],
        "position": result.position,
        "target": _packed_token(result.target),
        "versus": result.versus and _packed_token(result.versus),
        "logit_difference": result.logit_difference,
        "sums": [asdict(total) for total in result.sums],
        "components": [_values(component, _COMPONENT) for component in result.components],
        "neurons": [_values(neuron, _NEURON) for neuron in result.neurons],
        "ablation": result.ablation and asdict(result.ablation),
    }
    rows = [neuron.activations for neuron in result.neurons]
    activations = FLOAT16.pack(np.concatenate(rows)) if rows else b""
    values = {"request_id": request_id, "result": packed, "activations": activations}
    connection.execute(insert(text_result_table).values(values))


def _storable(token: str) -> str:
    return token.replace("\0", "\ufffd")  # JSON in Postgres holds no NUL


def _packed_token(token: TokenLogit) -> dict[str, Any]:
    return {**asdict(token), "text": _storable(token.text)}


def _values(row: object, names: Iterable[str]) -> list[Any]:
    """Return fields of a row; numbers have the digits that float32 has."""
    # Nine digits tell any two float32 apart; more would double the size of the JSON.
    values = (getattr(row, name) for name in names)
    return [float(f"{value:.9g}") if isinstance(value, float) else value for value in values]


def load_result(connection: Connection, run_id: int, request_id: int) -> TextResult | None:
    """Return a stored result, with what the run knows of its neurons by now; None if none is."""
    columns = text_result_table.c
    query = select(columns.result, columns.activations).where(columns.request_id == request_id)
    row = connection.execute(query).first()
    return None if row is None else _joined(connection, run_id, _unpacked(*row))


def _unpacked(stored: Mapping[str, Any], activations: bytes) -> TextResult:
    shape = (len(stored["neurons"]), len(stored["tokens"]))
    on_tokens = unpack_array(activations, np.float16, *shape)
    return TextResult(
        tokens=stored["tokens"],
        position=stored["position"],
        target=TokenLogit(**stored["target"]),
        versus=TokenLogit(**stored["versus"]) if stored["versus"] else None,
        logit_difference=stored["logit_difference"],
        sums=[GroupSum(**total) for total in stored["sums"]],
        components=[
            Component(**dict(zip(_COMPONENT, row, strict=True))) for row in stored["components"]
        ],
        neurons=[
            NeuronEffects(**dict(zip(_NEURON, row, strict=True)), activations=on_text)
            for row, on_text in zip(stored["neurons"], on_tokens, strict=True)
        ],
        ablation=TextAblation(**stored["ablation"]) if stored["ablation"] else None,
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """The values of a neuron that are joined to a result."""

    explanation: str | None
    score: float | None
    boundaries: Sequence[float] | None

    def quantile(self, activation: float) -> float | None:
        """Return the highest quantile of its record maxima that an activation reaches."""
        if self.boundaries is None or len(self.boundaries) != len(QUANTILES):
            return None
        # As float16, in which the boundaries were measured; see `selection.quantile_boundaries`.
        reached = sum(np.float16(activation) >= boundary for boundary in self.boundaries)
        return (0.0, *QUANTILES)[int(reached)]


_UNKNOWN = _Known(None, None, None)


def _joined(connection: Connection, run_id: int, result: TextResult) -> TextResult:
    known = _known(connection, run_id, set(_places(result)))
    return replace(
        result,
        components=[_with_known(component, known) for component in result.components],
        neurons=[
            replace(
                neuron,
                quantile=about.quantile(neuron.max_activation),
                explanation=about.explanation,
                score=about.score,
            )
            for neuron in result.neurons
            for about in [known.get((neuron.layer, neuron.neuron), _UNKNOWN)]
        ],
    )


def _with_known(component: Component, known: Mapping[Place, _Known]) -> Component:
    if component.kind != "neuron":
        return component
    assert component.layer is not None and isinstance(component.index, int)  # as of every neuron
    about = known.get((component.layer, component.index), _UNKNOWN)
    quantile = None if component.activation is None else about.quantile(component.activation)
    return replace(component, quantile=quantile, explanation=about.explanation, score=about.score)


def _places(result: TextResult) -> Iterator[Place]:
    for neuron in result.neurons:
        yield neuron.layer, neuron.neuron
    for component in result.components:
        if component.kind == "neuron":
            assert component.layer is not None and isinstance(component.index, int)
            yield component.layer, component.index


_KNOWN = text("""
    SELECT layer, neuron, explanation.text, score.score, quantile_boundaries
    FROM unnest(CAST(:layers AS int[]), CAST(:neurons AS int[])) AS named (layer, neuron)
    LEFT JOIN (SELECT * FROM explanation WHERE run_id = :run) AS explanation USING (layer, neuron)
    LEFT JOIN (SELECT * FROM score WHERE run_id = :run) AS score USING (layer, neuron)
    LEFT JOIN (SELECT * FROM neuron_records WHERE run_id = :run) AS records USING (layer, neuron)
""")


def _known(connection: Connection, run_id: int, places: set[Place]) -> dict[Place, _Known]:
    named = sorted(places)
    values = {"layers": [layer for layer, _ in named], "neurons": [n for _, n in named]}
    rows = connection.execute(_KNOWN, {"run": run_id, **values})
    return {(layer, neuron): _Known(*known) for layer, neuron, *known in rows}
