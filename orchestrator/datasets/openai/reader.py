"""Reading the records and explanations of OpenAI's files, with every name and null in use.

Beside the names of 2023 these are the names of Transformer Debugger: `idx` and `layer` of a neuron
id, `unit`, `sequence_simulation`, `explanation_or_baseline` and its list. `dataclass_name` is not
read, as the path of a file says what it holds.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from neurogloss.errors import InputError
from neurogloss.neurons.records import MAX_NORMALIZED, FloatArray
from neurogloss.neurons.selection import N_BUCKETS
from orchestrator.datasets.json_reader import Checked, parse, same_length

NORMALIZED = "simulated_normalized_activations"
_SCORES = ("ev_correlation_score", "rsquared_score", "absolute_dev_explained_score")
SCALES = (NORMALIZED, "neuron_activations")
MAX_LAYER, MAX_NEURON = 32_767, 2**31 - 1
MAX_RECORDS = 10_000  # of one kind; OpenAI's files have far fewer
FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class PublishedRecord:
    """Tokens, and float16 activations of shape (n_tokens,)."""

    tokens: list[str]
    activations: FloatArray


@dataclass(frozen=True, slots=True)
class PublishedNeuron:
    """A NeuronRecord; moments are mean, variance, skewness, kurtosis."""

    top: list[PublishedRecord]
    random: list[PublishedRecord]
    buckets: list[list[PublishedRecord]]
    boundaries: list[float]
    moments: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class ScoredSequence:
    """A simulation of one record with its own scores; `distribution` is float16 (n_tokens, 11)."""

    record: PublishedRecord
    expected: FloatArray
    scale: str
    distribution: FloatArray | None
    scores: "PublishedScores"

    def is_like(self, other: "ScoredSequence") -> bool:
        """Return whether both simulate in the same way, bit for bit."""
        return self._stored() == other._stored()

    def _stored(self) -> tuple[bytes, bytes | None, str]:
        distribution = None if self.distribution is None else self.distribution.tobytes()
        return self.expected.tobytes(), distribution, self.scale


@dataclass(frozen=True, slots=True)
class PublishedScores:
    score: float | None
    rsquared: float | None
    absolute_dev_explained: float | None


@dataclass(frozen=True, slots=True)
class PublishedExplanation:
    """The first ScoredExplanation of a neuron, and how many others there are."""

    text: str
    sequences: list[ScoredSequence]
    scores: PublishedScores
    n_others: int


def read_neuron(content: bytes, file: str, layer: int, neuron: int) -> PublishedNeuron:
    """Read a NeuronRecord.

    Raises:
        InputError: A value is missing or wrong; the message names it.
    """
    top = parse(content, file)
    _check_id(top, layer, neuron)
    lists = [
        [_record(item) for item in _bounded(top.field(name))]
        for name in ("most_positive_activation_records", "random_sample")
    ]
    if not lists[0]:
        raise top.field("most_positive_activation_records").wrong("a list of records")
    boundaries = top.field("quantile_boundaries")
    numbers = [] if boundaries.is_null else boundaries.numbers(FLOAT32_MAX).tolist()
    if any(math.isnan(number) for number in numbers):
        raise boundaries.wrong("a list of numbers without null")
    moments = (top.field(name).number() for name in ("mean", "variance", "skewness", "kurtosis"))
    return PublishedNeuron(lists[0], lists[1], _buckets(top), numbers, tuple(moments))


def _check_id(top: Checked, layer: int, neuron: int) -> None:
    neuron_id = top.field("neuron_id")
    layer_index = neuron_id.field("layer_index", "layer")
    neuron_index = neuron_id.field("neuron_index", "idx")
    if layer_index.integer(0, MAX_LAYER) != layer:
        raise layer_index.wrong(f"{layer}, as the path of the file says")
    if neuron_index.integer(0, MAX_NEURON) != neuron:
        raise neuron_index.wrong(f"{neuron}, as the path of the file says")


def _bounded(value: Checked) -> Iterator[Checked]:
    if not value.is_null:
        if len(value.entries()) > MAX_RECORDS:
            raise value.wrong(f"a list of at most {MAX_RECORDS} records")
        yield from value.items()


def _buckets(top: Checked) -> list[list[PublishedRecord]]:
    value = top.field("random_sample_by_quantile")
    if value.is_null:
        return []
    if len(value.entries()) > N_BUCKETS:
        raise InputError(
            f"{value.file}: {value.path} has {len(value.entries())} lists; there are {N_BUCKETS} "
            "quantile buckets"
        )
    return [[_record(item) for item in _bounded(bucket)] for bucket in value.items()]


def _record(value: Checked) -> PublishedRecord:
    tokens, activations = value.field("tokens"), value.field("activations")
    texts, numbers = tokens.texts(), activations.numbers()
    if not texts:
        raise tokens.wrong("a list of tokens")
    same_length(numbers, activations, len(texts), "tokens")
    return PublishedRecord(texts, numbers.astype(np.float16))


def read_explanation(
    content: bytes, file: str, layer: int, neuron: int
) -> PublishedExplanation | None:
    """Read a NeuronSimulationResults from the one line of its file; None if it has no explanation.

    Raises:
        InputError: A value is missing or wrong, or there are several lines.
    """
    lines = [line for line in content.splitlines() if line.strip()]
    if len(lines) != 1:
        raise InputError(f"{file}: {len(lines)} lines, where there should be one")
    top = parse(lines[0], file)
    _check_id(top, layer, neuron)
    every = top.field("scored_explanations", "scored_explanation_or_baseline_list")
    if not every.entries():
        return None
    # A run has one explanation for each neuron; how many more there were is told to the person.
    first = next(every.items())
    scored = first.field("scored_simulation")
    names = ("explanation", "explanation_or_baseline")
    text = first.field(*names)
    if scored.is_null:
        return PublishedExplanation(
            text.text(), [], PublishedScores(None, None, None), len(every.entries()) - 1
        )
    sequences = scored.field("scored_sequence_simulations")
    return PublishedExplanation(
        text.text(),
        [_sequence(item) for item in _bounded(sequences)],
        _scores(scored),
        len(every.entries()) - 1,
    )


def _scores(value: Checked) -> PublishedScores:
    score, rsquared, absolute = (value.field(name).number() for name in _SCORES)
    # A computed correlation may exceed 1 by an error of rounding.
    if score is not None and not -1.0001 <= score <= 1.0001:
        raise value.field(_SCORES[0]).wrong("a correlation from -1 to 1")
    return PublishedScores(score, rsquared, absolute)


def _sequence(value: Checked) -> ScoredSequence:
    simulation = value.field("simulation", "sequence_simulation")
    tokens = simulation.field("tokens")
    true, expected = value.field("true_activations"), simulation.field("expected_activations")
    texts, true_numbers, numbers = tokens.texts(), true.numbers(), expected.numbers()
    if not texts:
        raise tokens.wrong("a list of tokens")
    same_length(true_numbers, true, len(texts), "tokens")
    same_length(numbers, expected, len(texts), "tokens")
    scale = simulation.field("activation_scale", "unit")
    if not scale.is_null and scale.value not in SCALES:
        raise scale.wrong(f"one of {', '.join(SCALES)}")
    named = NORMALIZED if scale.is_null else scale.value
    distribution = _distribution(simulation, len(texts)) if named == NORMALIZED else None
    record = PublishedRecord(texts, true_numbers.astype(np.float16))
    # Of single simulations, scores are only passed on; a wrong one need not stop an import.
    scores = PublishedScores(*(value.field(name).number_or_none() for name in _SCORES))
    return ScoredSequence(record, numbers.astype(np.float16), named, distribution, scores)


def _distribution(simulation: Checked, n_tokens: int) -> FloatArray | None:
    """Return the probability of each number; those on another scale than 0 to 10 are not kept."""
    values = simulation.field("distribution_values")
    probabilities = simulation.field("distribution_probabilities")
    if values.is_null or not values.entries():
        return None
    same_length(values.entries(), values, n_tokens, "tokens")
    same_length(probabilities.entries(), probabilities, n_tokens, "tokens")
    distribution = _distributions_of(values.entries(), probabilities.entries())
    if distribution is None:
        raise _wrong_distribution(values, probabilities)
    return distribution


def _distributions_of(values: list[Any], probabilities: list[Any]) -> FloatArray | None:
    """Return distributions as float16 (n_tokens, 11); None if anything in them is wrong."""
    # All tokens together: checked one after the other, distributions take most of the time of an
    # import. Only where something is wrong, `_wrong_distribution` looks for the token.
    if not set(map(type, values)) | set(map(type, probabilities)) <= {list}:
        return None
    lengths = list(map(len, values))
    if lengths != list(map(len, probabilities)):
        return None
    flat = list(chain.from_iterable(values)), list(chain.from_iterable(probabilities))
    if not set(map(type, flat[0])) | set(map(type, flat[1])) <= {int, float}:
        return None
    try:
        numbers, weights = (np.array(part, np.float64) for part in flat)
    except OverflowError:
        return None
    are_numbers = (numbers >= 0) & (numbers <= MAX_NORMALIZED) & (numbers == np.floor(numbers))
    if not (are_numbers & (weights >= 0) & (weights <= 1.001)).all():
        return None
    distributions = np.zeros((len(values), MAX_NORMALIZED + 1))
    tokens = np.repeat(np.arange(len(values)), lengths)
    distributions[tokens, numbers.astype(np.int64)] = weights
    return distributions.astype(np.float16)


def _wrong_distribution(values: Checked, probabilities: Checked) -> InputError:
    """Return the error of the first token whose distribution is wrong."""
    for of_token, likely in zip(values.items(), probabilities.items(), strict=True):
        numbers, weights = of_token.numbers(), likely.numbers()
        same_length(weights, likely, len(numbers), of_token.path)
        if not np.isin(numbers, np.arange(MAX_NORMALIZED + 1)).all():
            return of_token.wrong(f"a list of the numbers 0 to {MAX_NORMALIZED}")
        if not ((weights >= 0) & (weights <= 1.001)).all():
            return likely.wrong("a list of probabilities")
    return values.wrong("lists of numbers")
