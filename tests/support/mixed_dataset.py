"""A published dataset with records of many lengths, and with much left out, as real ones have."""

import json

import numpy as np

END = "<|endoftext|>"
WORDS = (" fox", "�", "�", "\n", " 10", "Ω", " unknown", "🦀", "", '"', "\0", "a\0b")
LENGTHS = (9, 1, 5, 9, 3, 12, 7, 2, 9, 4, 6, 9)  # of the top records of a neuron
EXTRA = {"source_file": "x", "weird": [{"a": None}]}


def record(random, length, *, digits=None):
    """Return a record that begins as a document does; activations with `digits` are rounded."""
    tokens = [END, *random.choice(WORDS, length - 1).tolist()]
    values = random.exponential(1.0, length).astype(np.float16).astype(float)
    activations = (values if digits is None else np.round(values, digits)).tolist()
    return {"tokens": tokens, "activations": activations}


def neuron_record(neuron):
    """Return a NeuronRecord: each neuron lacks something else."""
    random = np.random.default_rng(neuron)
    top = [record(random, length) for length in LENGTHS]
    top[0]["activations"][0] = 31  # an integer, and the highest
    value = {
        "neuron_id": {"layer_index": 0, "neuron_index": neuron},
        "most_positive_activation_records": top,
        "random_sample": [record(random, 1 + n % 11) for n in range(9)],
        **EXTRA,
    }
    if neuron == 1:
        del value["random_sample"]
        value |= {"mean": float("nan"), "variance": None, "quantile_boundaries": None}
    if neuron == 2:
        value |= {"mean": 1, "variance": 2.5, "skewness": 0, "kurtosis": None}
        value["quantile_boundaries"] = [0, 1.5, 2, 3]
        value["random_sample_by_quantile"] = [[record(random, n)] for n in range(1, 6)]
    if neuron == 3:
        top[4]["activations"][1] = None
    return value


def simulated(random, of_record, *, named):
    """Return a ScoredSequenceSimulation of a record, with its own scores if `named`."""
    n = len(of_record["tokens"])
    expected = random.integers(0, 11, n).tolist()
    scores = {"ev_correlation_score": 0.125, "rsquared_score": None} if named else {}
    return {
        "simulation": {
            "tokens": of_record["tokens"],
            "expected_activations": expected,
            "activation_scale": "simulated_normalized_activations",
            "distribution_values": [[value] for value in expected],
            "distribution_probabilities": [[1.0]] * n,
        },
        "true_activations": of_record["activations"],
        **scores,
    }


def results(neuron, records):
    """Return a NeuronSimulationResults: of neuron 2 without a score, of neuron 1 with two texts."""
    random = np.random.default_rng(100 + neuron)
    scored = {
        "scored_sequence_simulations": [
            simulated(random, of_record, named=neuron == 1) for of_record in records
        ],
        "ev_correlation_score": None if neuron == 2 else 0.25,
    }
    first = {"explanation": f" foxes � {neuron}", "scored_simulation": scored, **EXTRA}
    second = {"explanation": "another", "scored_simulation": None}
    return {
        "neuron_id": {"layer_index": 0, "neuron_index": neuron},
        "scored_explanations": [first, second] if neuron == 1 else [first],
    }


def write_mixed(root):
    """Write the dataset, of five neurons in one layer; return its values by path."""
    values = {}
    for neuron in range(5):
        value = neuron_record(neuron)
        values[f"collated-activations/0/{neuron}.json"] = value
        if neuron in (0, 1, 2):
            top, drawn = value["most_positive_activation_records"], value.get("random_sample", [])
            scored = [*top[2:10:4], *drawn[1:5:3]]
            values[f"explanations/0/{neuron}.jsonl"] = results(neuron, scored)
    means = {"tokens": [" fox", "�", "�"], "average_activations": [2, None, float("nan")]}
    values["related-tokens/activation-based/0/0.json"] = means
    for path, value in values.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(json.dumps(value), encoding="utf-8")
    return values
