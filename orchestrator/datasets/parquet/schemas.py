"""The Parquet schemas of the tables of a run."""

from collections.abc import Mapping

import pyarrow as pa

_NEURON = [("layer", pa.int16()), ("neuron", pa.int32())]
SCORES = [
    (name, pa.float64())
    for name in ("score", "score_top", "score_random", "rsquared", "absolute_dev_explained")
]
# Stored as float16; many readers of Parquet know only float32, which holds the same numbers.
_FLOATS = pa.list_(pa.float32())

SCHEMAS: Mapping[str, pa.Schema] = {
    "neurons": pa.schema(
        [
            *_NEURON,
            ("explanation", pa.string()),
            ("explainer", pa.string()),
            *SCORES,
            ("undefined_reason", pa.string()),
            ("published_score", pa.float64()),
            ("max_activation", pa.float64()),
            *((name, pa.float64()) for name in ("mean", "variance", "skewness", "kurtosis")),
            ("quantile_boundaries", _FLOATS),
        ]
    ),
    "records": pa.schema(
        [
            *_NEURON,
            ("excerpt", pa.int32()),
            ("top_rank", pa.int16()),
            ("random_rank", pa.int16()),
            ("quantile_bucket", pa.int8()),
            ("activations", _FLOATS),
        ]
    ),
    "simulations": pa.schema(
        [
            *_NEURON,
            ("excerpt", pa.int32()),
            ("simulator", pa.string()),
            ("activation_scale", pa.string()),
            ("expected_activations", _FLOATS),
            ("distribution_probabilities", pa.list_(_FLOATS)),
            ("covered", pa.float32()),
        ]
    ),
    "baselines": pa.schema(
        [*_NEURON, ("baseline", pa.string()), *SCORES, ("undefined_reason", pa.string())]
    ),
    "calibrated_scores": pa.schema(
        [
            *_NEURON,
            ("calibration", pa.string()),
            *SCORES,
            ("undefined_reason", pa.string()),
            ("slope", pa.float64()),
            ("intercept", pa.float64()),
        ]
    ),
    "scorers": pa.schema(
        [
            *_NEURON,
            ("scorer", pa.string()),
            ("score", pa.float64()),
            ("auc", pa.float64()),
            ("n_positive", pa.int16()),
            ("n_negative", pa.int16()),
            ("undefined_reason", pa.string()),
        ]
    ),
    "ablations": pa.schema(
        [
            *_NEURON,
            ("score", pa.float64()),
            ("divergence_simulated", pa.float64()),
            ("divergence_mean", pa.float64()),
            ("undefined_reason", pa.string()),
        ]
    ),
    "controls": pa.schema(
        [
            *_NEURON,
            ("partner", pa.int32()),
            ("explanation", pa.string()),
            *SCORES,
            ("undefined_reason", pa.string()),
        ]
    ),
    "control_simulations": pa.schema(
        [*_NEURON, ("excerpt", pa.int32()), ("expected_activations", _FLOATS)]
    ),
    "candidates": pa.schema(
        [*_NEURON, ("number", pa.int16()), ("text", pa.string()), ("explainer", pa.string())]
    ),
    "candidate_scores": pa.schema(
        [
            *_NEURON,
            ("stage", pa.string()),
            ("number", pa.int16()),
            ("score", pa.float64()),
            ("undefined_reason", pa.string()),
        ]
    ),
    "sentences": pa.schema(
        [
            *_NEURON,
            ("number", pa.int16()),
            ("text", pa.string()),
            ("is_expected", pa.bool_()),
            ("for_judging", pa.bool_()),
            ("tokens", pa.list_(pa.string())),
            ("activations", _FLOATS),
        ]
    ),
    "notes": pa.schema(
        [
            *_NEURON,
            ("flag", pa.string()),
            ("text", pa.string()),
            ("author", pa.string()),
            ("created_at", pa.timestamp("us", tz="UTC")),
        ]
    ),
    "token_means": pa.schema([*_NEURON, ("token", pa.string()), ("mean_activation", pa.float32())]),
    "related_neurons": pa.schema(
        [
            *_NEURON,
            ("direction", pa.string()),
            ("related_layer", pa.int16()),
            ("related_neuron", pa.int32()),
            ("weight", pa.float32()),
        ]
    ),
    "related_tokens": pa.schema(
        [*_NEURON, ("direction", pa.string()), ("token", pa.string()), ("weight", pa.float32())]
    ),
    "excerpts": pa.schema(
        [
            ("excerpt", pa.int32()),
            ("document", pa.string()),
            ("position", pa.int32()),
            ("tokens", pa.list_(pa.string())),
        ]
    ),
}
