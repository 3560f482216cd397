"""What a worker found about a text: components with their effects on the logit of a token.

One value stands behind terminal, JSON and page. Stored are sums and the largest components; what a
run knows of their neurons by now is joined when a result is loaded.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from sqlalchemy import Connection, insert, select, text

from db.codec import FLOAT16
from db.tables import TextResultTable
from neurogloss.neurons.codec import unpack_array
from neurogloss.neurons.records import FloatArray
from neurogloss.neurons.selection import QUANTILES

LARGEST = 1000
"""How many components are stored, and neurons, by each column that they are ranked by."""

Place = tuple[int, int]
"""The (layer, neuron) of a neuron."""


@dataclass(frozen=True, slots=True)
class TokenLogit:
    """A token that may come next, its logit and its probability."""

    text: str
    token: int
    logit: float
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A part of the model, with its effects on the logit difference.

    Attributes:
        kind: `neuron` (one that is explained), `head`, `embedding`, `bias`, `mlp_rest` (the neurons
            of a layer that are not explained) or `neuron_rest` (those that are, and not listed).
        layer: None for embeddings and the bias of the final norm.
        index: Of the neuron or the head; of an embedding `token` or `position`; of a bias its
            place: `attention`, `mlp` or `final_norm`. None for rests.
        position: Of the token. None where a component acts at all of them, as rests do.
        activation: Of the neuron there.
        quantile: The highest of the quantiles of the maxima of its records that `activation`
            reaches: 0, 0.5, 0.9, 0.99 or 0.999.
        direct_effect: 0 away from the position that predicts.
        estimated_effect: None for all but neurons and rests, and without a mean to compare with.
    """

    kind: str
    layer: int | None = None
    index: int | str | None = None
    position: int | None = None
    activation: float | None = None
    quantile: float | None = None
    direct_effect: float
    estimated_effect: float | None = None
    explanation: str | None = None
    score: float | None = None

    @property
    def size(self) -> float:
        """The larger of the two effects, without its sign."""
        return max(abs(self.direct_effect), abs(self.estimated_effect or 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class NeuronEffects:
    """An explained neuron, with its effects through all positions together.

    Attributes:
        activation: At the position that predicts.
        peak: The position at which its estimated effect is largest.
        max_activation: On the text.
        quantile: As in `Component`, that of `max_activation`.
        direct_effect: Its own; it acts at the position that predicts alone.
        estimated_effect: The sum over positions.
        activations: On each token, float16 (n_tokens,).
    """

    layer: int
    neuron: int
    activation: float
    peak: int
    max_activation: float
    quantile: float | None = None
    direct_effect: float
    estimated_effect: float | None
    explanation: str | None = None
    score: float | None = None
    activations: FloatArray

    @property
    def effect(self) -> float:
        """The estimated effect, or the direct one where there is none."""
        return self.direct_effect if self.estimated_effect is None else self.estimated_effect


@dataclass(frozen=True, slots=True)
class GroupSum:
    """The direct effects of a group of components: their sum, and that of their absolute values.

    Groups are `explained` and `unexplained` neurons, `head`, `embedding` and `bias`.
    """

    group: str
    direct_effect: float
    absolute: float


@dataclass(frozen=True, slots=True)
class TextAblation:
    """What the model says once the chosen neurons are set to the baseline."""

    logit_difference: float
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TextResult:
    """Which components bring a token about, after a text.

    Attributes:
        tokens: Their texts. NUL reads as U+FFFD, as part of a character does.
        position: The last token, at which the next one is predicted.
        versus: The token that the target is held against; None: the mean of all tokens.
        logit_difference: The sum of all direct effects.
        sums: By group; each component is in one.
        components: The largest, by either effect.
        neurons: The largest, by either effect.
    """

    tokens: list[str]
    position: int
    target: TokenLogit
    versus: TokenLogit | None
    logit_difference: float
    sums: list[GroupSum]
    components: list[Component]
    neurons: list[NeuronEffects]
    ablation: TextAblation | None = None

    @property
    def accounted_by_explained(self) -> float | None:
        """The share of explained neurons in the logit difference; None if there is none.

        It is negative where they act against it, and more than 1 where others do.
        """
        explained = self.sum_of("explained").direct_effect
        return explained / self.logit_difference if self.logit_difference else None

    def sum_of(self, group: str) -> GroupSum:
        """Return the sum of a group; 0 if it has no components."""
        found = (total for total in self.sums if total.group == group)
        return next(found, GroupSum(group, 0.0, 0.0))

    def as_json(self, top: int = 0) -> dict[str, Any]:
        """Return the value in types of JSON, with the `top` largest components; 0 is all."""
        value = asdict(self)
        first = slice(top or None)
        return {
            **{key: value[key] for key in ("tokens", "position", "target", "versus")},
            "logit_difference": self.logit_difference,
            "components": value["components"][first],
            "accounted_by_explained": self.accounted_by_explained,
            "ablation": value["ablation"],
            "sums": value["sums"],
            "neurons": [
                {**neuron, "activations": [float(a) for a in neuron["activations"]]}
                for neuron in value["neurons"][first]
            ],
        }


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
    connection.execute(insert(TextResultTable).values(values))


def _storable(token: str) -> str:
    return token.replace("\0", "\ufffd")  # JSON in Postgres holds no NUL


def _packed_token(token: TokenLogit) -> dict[str, Any]:
    return {**asdict(token), "text": _storable(token.text)}


def _values(row: object, names: Iterable[str]) -> list[Any]:
    """Return fields of a row; numbers have the digits that float32 has."""
    values = (getattr(row, name) for name in names)
    return [float(f"{value:.9g}") if isinstance(value, float) else value for value in values]


def load_result(connection: Connection, run_id: int, request_id: int) -> TextResult | None:
    """Return a stored result, with what the run knows of its neurons by now; None if none is."""
    table = TextResultTable
    query = select(table.result, table.activations).where(table.request_id == request_id)
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
    """What a run knows of a neuron."""

    explanation: str | None
    score: float | None
    boundaries: Sequence[float] | None

    def quantile(self, activation: float) -> float | None:
        """Return the highest quantile of its record maxima that an activation reaches."""
        if self.boundaries is None or len(self.boundaries) != len(QUANTILES):
            return None
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
