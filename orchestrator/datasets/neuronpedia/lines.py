"""The lines of Neuronpedia's files about a neuron.

Neuronpedia's importer takes the columns from the first line of a file, so every line has every key.
It rejects a whole file for one reference to a missing row, so references that may be missing are
null. `scoreV1` cannot be null, and an undefined score would have to be a false 0 there. Scores are
therefore in `scoreV2`, and in `explanation-scores/` and `explanation-activations/`, which only our
loader reads.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import isfinite

import numpy as np
import orjson

from db.neuron import NeuronPart
from neurogloss.neurons.records import FloatArray
from neurogloss.neurons.scoring import pooled, score_records
from neurogloss.neurons.selection import QUANTILES
from orchestrator.datasets.digits import shortest
from orchestrator.datasets.exported import ExcerptTexts, ExportedNeuron, ExportedRun
from orchestrator.datasets.neuronpedia.source import BOT, Line, model_id, set_name, source_id

Lines = dict[str, Iterator[Line]]

PARTS = (
    NeuronPart.RECORDS,
    NeuronPart.EXPLANATION,
    NeuronPart.SIMULATIONS,
    NeuronPart.SCORE,
    NeuronPart.RELATED_TOKENS,
    NeuronPart.IMPORTED,
)
"""What the lines say of a neuron, of all that is stored of it."""
KINDS = ("features", "activations", "explanations", "explanation-scores", "explanation-activations")
SCORE_TYPE = "neurogloss_simulation"
EXPLANATION_TYPE = "oai_token-act-pair"
_LOGIT_TOKENS = 10
_BARS = 50
_ALL = -1  # Neuronpedia's mark for the bin of top activations

_CONTAINS = np.diff([0.0, *QUANTILES, 1.0]).tolist()  # share of excerpts in each quantile bucket
# List columns that Neuronpedia's importer requires and a run has nothing for.
_EMPTY = (
    *(f"neuron_alignment_{part}" for part in ("indices", "values", "l1")),
    *(
        f"correlated_{of}_{p}"
        for of in ("neurons", "features")
        for p in ("indices", "pearson", "l1")
    ),
    "logits_hist_data_bar_heights",
    "logits_hist_data_bar_values",
    "decoder_weights_dist",
    "topkCosSimIndices",
    "topkCosSimValues",
    "vector",
)


def lines_of(neuron: ExportedNeuron, excerpts: ExcerptTexts[orjson.Fragment]) -> Lines:
    """Return the lines about a neuron, by the folder to which they belong."""
    run = neuron.run
    key = {
        "modelId": model_id(run),
        "layer": source_id(run, neuron.layer),
        "index": str(neuron.neuron),
    }
    ids = Ids(neuron)
    return {
        "features": iter([{**key, **_feature(neuron, excerpts.texts)}]),
        "activations": _activations(neuron, key, excerpts, ids),
        "explanations": _explanation(neuron, key, ids),
        "explanation-scores": _score(neuron, ids),
        "explanation-activations": _simulations(neuron, ids),
    }


class Ids:
    """The ids of what is written about a neuron, the same in every export of the run.

    So loading can be repeated.
    """

    def __init__(self, neuron: ExportedNeuron) -> None:
        named = (neuron.run.row.name, neuron.run.row.config_hash, neuron.layer, neuron.neuron)
        # What all ids of the neuron are hashes of is hashed once.
        self._hash = hashlib.blake2b(orjson.dumps(named)[:-1], digest_size=12)

    def of(self, kind: str, *place: int) -> str:
        """Return the id of the only thing of a kind, or of that at a place."""
        whole = self._hash.copy()
        whole.update("".join(f',"{part}"' for part in (kind, *place)).encode() + b"]")
        # Neuronpedia's ids are cuids: "c" and 24 characters.
        return "c" + whole.hexdigest()


def _feature(neuron: ExportedNeuron, texts: list[str]) -> Line:
    row = neuron.records
    drawn = pooled(row.on(row.random_records)).astype(np.float64)
    positive = drawn[np.isfinite(drawn) & (drawn > 0)]
    # Of a neuron that is never positive, one empty bar.
    heights, edges = np.histogram(positive, bins=_BARS if len(positive) else 1)
    above, below = _output_tokens(neuron, texts)
    return {
        "sourceSetName": set_name(neuron.run),
        "creatorId": BOT,
        "maxActApprox": row.max_activation,
        "frac_nonzero": len(positive) / len(drawn) if len(drawn) else 0.0,
        "pos_str": [token for token, _ in above],
        "pos_values": [weight for _, weight in above],
        "neg_str": [token for token, _ in below],
        "neg_values": [weight for _, weight in below],
        "freq_hist_data_bar_heights": heights.astype(np.float64),
        "freq_hist_data_bar_values": np.ascontiguousarray(edges[:-1]),
        **{name: [] for name in _EMPTY},
        "hasVector": False,
        "vectorLabel": None,
        "vectorDefaultSteerStrength": None,
        "hookName": f"blocks.{neuron.layer}.mlp.hook_post",
    }


def _output_tokens(
    neuron: ExportedNeuron, texts: list[str]
) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """Return the (token, weight) pairs of highest positive and lowest negative output weight."""
    row = neuron.stored.related_tokens.get("output")
    if row is None:
        return [], []
    named = [(texts[t], w) for t, w in zip(row.tokens, row.weights, strict=True)]
    above = [pair for pair in named if pair[1] > 0]
    below = [pair for pair in reversed(named) if pair[1] <= 0]
    return above[:_LOGIT_TOKENS], below[:_LOGIT_TOKENS]


def _bins(neuron: ExportedNeuron) -> Mapping[int, tuple[str, float, float, float]]:
    """Return (data source, lowest, highest, share of excerpts) of each record, by place."""
    row = neuron.records
    highest = row.max_activation
    edges = [0.0, *row.quantile_boundaries, highest]
    whole = ("random", 0.0, highest, 1.0)
    bins = {place: ("simulated", 0.0, highest, 1.0) for place in range(len(row.excerpts))}
    bins |= dict.fromkeys(row.random_records, whole)
    for place, bucket in zip(row.bucket_records, row.buckets, strict=True):
        ends = (
            (edges[bucket], edges[bucket + 1]) if len(edges) == len(_CONTAINS) + 1 else whole[1:3]
        )
        bins[place] = ("quantile", *ends, _CONTAINS[bucket])
    # Last, since a record that is both top and random is shown among the top ones.
    top = ("top", float(_ALL), float(_ALL), float(_ALL))
    return bins | dict.fromkeys(row.top_records, top)


def _activations(
    neuron: ExportedNeuron, key: Line, excerpts: ExcerptTexts[orjson.Fragment], ids: Ids
) -> Iterator[Line]:
    row = neuron.records
    tokens = excerpts.of(row.excerpts)
    activations = replace(row, activations=shortest(row.activations)).on_all()
    extremes = _extremes(activations)
    for place, (source, lowest, highest, contains) in _bins(neuron).items():
        values, (at, most, least) = activations[place], extremes[place]
        if not (isfinite(most) and isfinite(least)):  # both are NaN where any value is
            continue  # the columns are NOT NULL, and JSON has no infinity
        yield {
            "id": ids.of("record", place),
            **key,
            "creatorId": BOT,
            "tokens": tokens[place],
            "values": values,
            "maxValue": most,
            "maxValueTokenIndex": at,
            "minValue": least,
            "binMin": lowest,
            "binMax": highest,
            "binContains": contains,
            "qualifyingTokenIndex": None,
            "dataSource": source,
            "dataIndex": str(row.excerpts[place]),
            "dfaValues": [],
            "dfaTargetIndex": None,
            "dfaMaxValue": None,
            "lossValues": [],
            "logitContributions": None,
        }


def _extremes(records: Sequence[FloatArray]) -> list[tuple[int, float, float]]:
    """Return the place of each record's highest activation, that one, and the lowest."""
    if len(set(map(len, records))) != 1:
        return [extreme for record in records for extreme in _extremes([record])]
    block = np.stack(records)  # of all records at once: numpy is slow for one of 64 tokens
    columns = (block.argmax(axis=1), block.max(axis=1), block.min(axis=1))
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _explanation(neuron: ExportedNeuron, key: Line, ids: Ids) -> Iterator[Line]:
    explanation, score = neuron.stored.explanation, neuron.stored.score
    if explanation is None:
        return
    by_calls = "explainer" in neuron.run.config.calling
    yield {
        "id": ids.of("explanation"),
        **key,
        "authorId": BOT,
        "description": explanation.text,
        "embedding": None,
        "typeName": EXPLANATION_TYPE if by_calls else None,
        "explanationModelName": None,
        "notes": f"explainer {explanation.explainer}, {_defined(neuron)}",
        "scoreV2": None if score is None else score.score,
    }


def _defined(neuron: ExportedNeuron) -> str:
    score = neuron.stored.score
    if score is None:
        return "not scored"
    if score.score is None:
        return f"no score: {score.undefined_reason}"
    return f"simulator {neuron.run.config.simulator.kind}"


def _score(neuron: ExportedNeuron, ids: Ids) -> Iterator[Line]:
    score = neuron.stored.score
    if neuron.stored.explanation is None or score is None or score.score is None:
        return
    names = ("score_top", "score_random", "rsquared", "absolute_dev_explained")
    yield {
        "id": ids.of("score"),
        "initiatedByUserId": BOT,
        "value": score.score,
        "explanationId": ids.of("explanation"),
        "explanationScoreTypeName": SCORE_TYPE,
        "explanationScoreModelName": simulator_name(neuron.run),
        "jsonDetails": orjson.dumps({name: getattr(score, name) for name in names}).decode(),
    }


def simulator_name(run: ExportedRun) -> str:
    """Return the model of the simulator, or `lookup`."""
    simulator = run.config.simulator
    return "lookup" if simulator.kind == "lookup" else simulator.model


def _simulations(neuron: ExportedNeuron, ids: Ids) -> Iterator[Line]:
    """Yield the simulations whose own score is defined: the column of scores is NOT NULL."""
    if neuron.stored.explanation is None:
        return
    places = list(dict.fromkeys(neuron.scored()))
    true, expected = neuron.records.on(places), neuron.expected(places)
    scores = score_records(true, expected)
    for row, place in enumerate(places):
        if scores[row].score is None or not np.isfinite(true[row]).all():
            continue
        yield {
            "id": ids.of("simulation", place),
            "explanationId": ids.of("explanation"),
            "activationId": ids.of("record", place),
            "expectedValues": shortest(expected[row]),
            "score": scores[row].score,
            "scorerAutoInterpModel": simulator_name(neuron.run),
            "version": 1 if neuron.simulation(place).distribution is not None else 2,
        }
