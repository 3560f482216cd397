"""A reader of OpenAI's files, written from the description of the format and nothing else.

Every class has exactly the fields of its description, in its order, and its name last.
"""

import json
from dataclasses import dataclass, fields, make_dataclass
from typing import Any

CLASSES = {
    name: make_dataclass(name, described.split())
    for name, described in {
        "NeuronId": "layer_index neuron_index",
        "ActivationRecord": "tokens activations",
        "NeuronRecord": "neuron_id random_sample random_sample_by_quantile quantile_boundaries "
        "mean variance skewness kurtosis most_positive_activation_records",
        "SequenceSimulation": "tokens expected_activations activation_scale distribution_values "
        "distribution_probabilities uncalibrated_simulation",
        "ScoredSequenceSimulation": "simulation true_activations ev_correlation_score "
        "rsquared_score absolute_dev_explained_score",
        "ScoredSimulation": "scored_sequence_simulations ev_correlation_score rsquared_score "
        "absolute_dev_explained_score",
        "ScoredExplanation": "explanation scored_simulation",
        "NeuronSimulationResults": "neuron_id scored_explanations",
        "TokenLookupTableSummaryOfNeuron": "tokens average_activations",
        "TokensAndWeights": "tokens strengths",
        "WeightBasedSummaryOfNeuron": "input_positive input_negative output_positive "
        "output_negative",
    }.items()
}


@dataclass
class RelatedNeurons:
    """The file that has no class: `c_fc` is upstream, `c_proj` downstream."""

    c_fc: Any
    c_proj: Any


def load(path):
    """Read a file; a .jsonl has one line."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        assert "\n" not in text
    return json.loads(text, object_pairs_hook=_build, parse_constant=_refuse)


def _refuse(constant):
    raise ValueError(f"{constant} is no JSON")


def _build(pairs):
    names = [name for name, _ in pairs]
    values = dict(pairs)
    if "dataclass_name" not in values:
        if names == ["c_fc", "c_proj"]:
            return RelatedNeurons(**values)
        assert [n.rsplit("_", 1)[0] for n in names] == ["top_positive"] * 2 + ["top_negative"] * 2
        return values
    assert names[-1] == "dataclass_name"
    found = CLASSES[values.pop("dataclass_name")]
    assert names[:-1] == [field.name for field in fields(found)]
    return found(**values)
