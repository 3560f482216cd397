"""Write the files about each neuron in the format of OpenAI's published datasets.

The format is that of "Language models can explain neurons in language models": the last key of each
object, `dataclass_name`, names its class, and NaN is null. Activations are float16, written in the
shortest decimal form that gives the same float16. Distributions over the numbers 0 to 10 sum to 1,
as in OpenAI's files; numbers of probability 0 are left out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import orjson
from sqlalchemy import Connection

from db.connections import RelatedNeuronsRow, RelatedTokensRow
from db.neuron import NeuronPart
from db.records import TokenMeansRow
from neurogloss.neurons.records import FloatArray
from neurogloss.neurons.scoring import score_records
from neurogloss.neurons.selection import N_BUCKETS
from orchestrator.datasets.digits import shortest
from orchestrator.datasets.exported import (
    ExcerptTexts,
    ExportedNeuron,
    ExportedRun,
    exported_neurons,
)
from orchestrator.datasets.files import Folder

Json = dict[str, Any]

RECORDS = "collated-activations/{}/{}.json"
EXPLANATIONS = "explanations/{}/{}.jsonl"
NEURONS_BY_WEIGHT = "related-neurons/weight-based/{}/{}.json"
TOKENS_BY_ACTIVATION = "related-tokens/activation-based/{}/{}.json"
TOKENS_BY_WEIGHT = "related-tokens/weight-based/{}/{}.json"
_PARTS = (
    NeuronPart.RECORDS,
    NeuronPart.EXPLANATION,
    NeuronPart.SIMULATIONS,
    NeuronPart.SCORE,
    NeuronPart.TOKEN_MEANS,
    NeuronPart.RELATED_NEURONS,
    NeuronPart.RELATED_TOKENS,
    NeuronPart.IMPORTED,
)


def write_layer(
    connection: Connection,
    run: ExportedRun,
    layer: int,
    folder: Folder,
    on_neuron: Callable[[], Any],
) -> None:
    """Write all files of a layer's neurons."""
    # JSON can hold the NUL for which the database has a substitute, so it is written as it was.
    excerpts = ExcerptTexts(connection, run, tokens_json, nul="\0")
    for neuron in exported_neurons(connection, run, layer, excerpts, _PARTS):
        for path, value in files_of(neuron, excerpts):
            content = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
            folder.write(path.format(layer, neuron.neuron), content)
        on_neuron()


def tokens_json(tokens: list[str]) -> orjson.Fragment:
    """Return tokens as JSON that can be cached.

    The bytes are copied because those that `orjson.dumps` returns keep a buffer of ten times their
    size allocated.
    """
    return orjson.Fragment(bytes(memoryview(orjson.dumps(tokens))))


def files_of(
    neuron: ExportedNeuron, excerpts: ExcerptTexts[orjson.Fragment]
) -> Iterator[tuple[str, Json]]:
    """Yield the files about a neuron: a path with places for layer and neuron, and the value."""
    stored, tokens = neuron.stored, excerpts.of(neuron.records.excerpts)
    yield RECORDS, neuron_record(neuron, tokens)
    if stored.explanation is not None:
        yield EXPLANATIONS, simulation_results(neuron, stored.explanation.text, tokens)
    if stored.related_neurons:
        yield NEURONS_BY_WEIGHT, _related_neurons(stored.related_neurons)
    if stored.token_means is not None:
        yield TOKENS_BY_ACTIVATION, _token_means(stored.token_means, excerpts.texts)
    if stored.related_tokens:
        yield TOKENS_BY_WEIGHT, _related_tokens(stored.related_tokens, excerpts.texts)


def neuron_record(neuron: ExportedNeuron, tokens: Sequence[orjson.Fragment]) -> Json:
    """Return the NeuronRecord of a neuron; `tokens` has one entry for each of its records."""
    row = neuron.records
    activations = replace(row, activations=shortest(row.activations)).on_all()
    written = [
        {"tokens": t, "activations": a, "dataclass_name": "ActivationRecord"}
        for t, a in zip(tokens, activations, strict=True)
    ]
    buckets: list[list[Json]] = [[] for _ in range(N_BUCKETS)]
    for place, bucket in zip(row.bucket_records, row.buckets, strict=True):
        buckets[bucket].append(written[place])
    boundaries = np.array(row.quantile_boundaries, np.float32)
    return {
        "neuron_id": _neuron_id(neuron),
        "random_sample": [written[place] for place in row.random_records],
        "random_sample_by_quantile": buckets if row.buckets else None,
        "quantile_boundaries": boundaries if len(boundaries) else None,
        **{name: getattr(row, name) for name in ("mean", "variance", "skewness", "kurtosis")},
        "most_positive_activation_records": [written[place] for place in row.top_records],
        "dataclass_name": "NeuronRecord",
    }


def _neuron_id(neuron: ExportedNeuron) -> Json:
    return {
        "layer_index": neuron.layer,
        "neuron_index": neuron.neuron,
        "dataclass_name": "NeuronId",
    }


def simulation_results(
    neuron: ExportedNeuron, explanation: str, tokens: Sequence[orjson.Fragment]
) -> Json:
    """Return the NeuronSimulationResults of a neuron with its explanation."""
    places = neuron.scored()
    of_explanation, *of_each = _scores(neuron, places)
    scored = {
        "scored_sequence_simulations": list(_sequences(neuron, places, tokens, of_each)),
        **of_explanation,
        "dataclass_name": "ScoredSimulation",
    }
    scored_explanation = {
        "explanation": explanation,
        "scored_simulation": scored,
        "dataclass_name": "ScoredExplanation",
    }
    return {
        "neuron_id": _neuron_id(neuron),
        "scored_explanations": [scored_explanation],
        "dataclass_name": "NeuronSimulationResults",
    }


def _scores(neuron: ExportedNeuron, places: Sequence[int]) -> list[Json]:
    """Return the scores of the explanation, and of each simulation.

    An imported neuron keeps those that were published: they may be over records, or of digits, that
    the published file did not have.
    """
    imported, stored = neuron.stored.imported, neuron.stored.score
    if imported is not None and imported.published_scores is not None:
        return [_named_scores(*row) for row in imported.published_scores.tolist()]
    # Activations of a failed neuron may be NaN or infinite; its scores are then undefined.
    with np.errstate(invalid="ignore", over="ignore"):
        of_each = score_records(neuron.records.on(places), neuron.expected(places))
    return [
        _named_scores(None, None, None)
        if row is None
        else _named_scores(row.score, row.rsquared, row.absolute_dev_explained)
        for row in (stored, *of_each)
    ]


def _named_scores(ev: float | None, rsquared: float | None, absolute: float | None) -> Json:
    return {
        "ev_correlation_score": ev,
        "rsquared_score": rsquared,
        "absolute_dev_explained_score": absolute,
    }


def _sequences(
    neuron: ExportedNeuron,
    places: Sequence[int],
    tokens: Sequence[orjson.Fragment],
    scores: Sequence[Json],
) -> Iterator[Json]:
    true, expected = neuron.records.on(places), neuron.expected(places)
    stored = [neuron.simulation(place) for place in places]
    distributions = _distributions([s.distribution for s in stored], neuron.run.is_imported)
    for row, place in enumerate(places):
        values, probabilities = distributions[row]
        simulation = {
            "tokens": tokens[place],
            "expected_activations": shortest(expected[row]),
            "activation_scale": stored[row].activation_scale,
            "distribution_values": values,
            "distribution_probabilities": probabilities,
            "uncalibrated_simulation": None,
            "dataclass_name": "SequenceSimulation",
        }
        yield {
            "simulation": simulation,
            "true_activations": shortest(true[row]),
            **scores[row],
            "dataclass_name": "ScoredSequenceSimulation",
        }


Distribution = tuple[list[list[int]], list[list[float]]]
"""For each token, the numbers of positive probability and their probabilities."""


def _distributions(stored: Sequence[FloatArray | None], is_normalized: bool) -> list[Distribution]:
    """Return the distributions of a neuron's simulations.

    Args:
        stored: float16 (n_tokens, 11) each, or None where the simulator gives no distribution.
        is_normalized: Whether each row sums to 1, so that imported bits are kept.
    """
    # All tokens at once: each array of its own would cost more than what is computed.
    there = [one for one in stored if one is not None]
    values, probabilities = _of_tokens(np.concatenate(there), is_normalized) if there else ([], [])
    ends = pairwise([0, *accumulate(0 if one is None else len(one) for one in stored)])
    return [(values[first:stop], probabilities[first:stop]) for first, stop in ends]


def _of_tokens(distribution: FloatArray, is_normalized: bool) -> Distribution:
    # float64, since float16 sums of 11 probabilities lose digits.
    if not is_normalized:
        sums = distribution.astype(np.float64).sum(axis=1, keepdims=True)
        normalized = np.divide(distribution, sums, out=np.zeros(distribution.shape), where=sums > 0)
        distribution = normalized.astype(np.float16)
    is_positive = distribution > 0
    positive = np.flatnonzero(is_positive)
    values = (positive % distribution.shape[1]).tolist()
    # As lists: JSON of hundreds of small arrays takes several times as long.
    probabilities = shortest(distribution.ravel()[positive]).tolist()
    ends = pairwise([0, *np.cumsum(is_positive.sum(axis=1)).tolist()])
    places = [slice(*pair) for pair in ends]
    return [values[place] for place in places], [probabilities[place] for place in places]


def _related_neurons(by_direction: Mapping[str, RelatedNeuronsRow]) -> Json:
    names = {"c_fc": "upstream", "c_proj": "downstream"}
    return {name: _neuron_ends(by_direction.get(direction)) for name, direction in names.items()}


def _neuron_ends(row: RelatedNeuronsRow | None) -> Json | None:
    if row is None or not row.weights:
        return None
    names = [f"{layer}_{n}" for layer, n in zip(row.layers, row.neurons, strict=True)]
    ends = _ends(names, row.weights)
    return {
        f"top_{sign}_{part}": ends[sign][place]
        for sign in ("positive", "negative")
        for place, part in enumerate(("neurons", "weights"))
    }


def _ends(names: Sequence[str], weights: Sequence[float]) -> dict[str, tuple[list[str], Any]]:
    """Split (names, weights), highest first, by sign: positive ones, then others lowest first."""
    values = np.array(weights, np.float32)
    n = int((values > 0).sum())
    return {
        "positive": (list(names[:n]), values[:n]),
        "negative": (list(names[n:])[::-1], np.ascontiguousarray(values[n:][::-1])),
    }


def _related_tokens(by_direction: Mapping[str, RelatedTokensRow], texts: Sequence[str]) -> Json:
    value: Json = {}
    for direction in ("input", "output"):
        row = by_direction.get(direction)
        names = [] if row is None else [texts[token] for token in row.tokens]
        ends = _ends(names, [] if row is None else row.weights)
        for sign, (tokens, strengths) in ends.items():
            value[f"{direction}_{sign}"] = {
                "tokens": tokens,
                "strengths": strengths,
                "dataclass_name": "TokensAndWeights",
            }
    return {**value, "dataclass_name": "WeightBasedSummaryOfNeuron"}


def _token_means(row: TokenMeansRow, texts: Sequence[str]) -> Json:
    top = row.top_tokens
    return {
        "tokens": [texts[token] for token in top],
        "average_activations": row.means[np.searchsorted(row.tokens, top)] if top else [],
        "dataclass_name": "TokenLookupTableSummaryOfNeuron",
    }
