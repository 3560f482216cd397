"""The result of a text request: components with their effects on the logit of a token.

The terminal, JSON and the page all show this value.
"""

from dataclasses import asdict, dataclass
from typing import Any

from neurogloss.neurons.records import FloatArray

LARGEST = 1000
"""How many components are stored, and neurons, by each column that they are ranked by."""


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
    """The output of the model with the chosen neurons set to the baseline."""

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
