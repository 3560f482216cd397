"""Writes `dataset.json`: a small data set in OpenAI's format, by path of its files.

It is made of seeded numbers and of nothing of the project; `random()` draws the same in every
version of Python. Run it with `python -m tests.golden.make_dataset`; it should change nothing.
"""

import hashlib
import json
from pathlib import Path
from random import Random

FILE = Path(__file__).parent / "dataset.json"
LAYERS, NEURONS, TOKENS, EXCERPTS = 2, 5, 12, 44
TOP, RANDOM = 8, 6  # 2 of each split of the top records, 2 of each of the random ones
DENSE, SPARSE, DEAD, UNEXPLAINED = 1, 2, 3, 4
TEXTS = (
    " the", " cat", " sat", " on", "\n", "\t", " \\n", "\\", '"', "<start>", "<end>", "<<", ">>",
    "<|endoftext|>", "\u00a0", "\u200b", "\ufffd", "\u2028", "🦀", " Ωmega", "<b>", "{", "0", " 10",
    "\x1b[31m", " naïve", " of", ",", ".", "'s", "", " Ünïcode",
)  # fmt: skip
EXPLANATIONS = (
    "words about cats",
    "line\nbreaks, tabs\t, and \\n as it is written",
    "<start>\x1b[31m \"quoted\" 'twice' 🦀 <end>.",
    "never seen",
)
SCORING = {"top": 2, "random": 2}


def dataset() -> dict[str, str]:
    """Return the content of each file, by its path."""
    draw = Random(20230509).random
    excerpts = [[TEXTS[int(draw() * len(TEXTS))] for _ in range(TOKENS)] for _ in range(EXCERPTS)]
    excerpts[7] = excerpts[8]  # a text that the corpus has twice
    files = {"dataset.json": _json(_description())}
    for layer in range(LAYERS):
        for neuron in range(NEURONS):
            files |= _files_of(layer, neuron, excerpts, draw)
    sums = {path: hashlib.sha256(content.encode()).hexdigest() for path, content in files.items()}
    files["SHA256SUMS"] = "".join(f"{sums[path]}  {path}\n" for path in sorted(sums))
    return files


def _json(value) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _description():
    role = {"endpoint": "e", "model": "a-model"}
    return {
        "version": 1,
        "n_layers": LAYERS,
        "neurons_per_layer": NEURONS,
        "activation_function": "gelu_new",
        "configuration": {
            "subject": {"model": "gpt2", "dtype": "float32"},
            "corpus": {"source": "a corpus", "excerpts": EXCERPTS, "excerpt_tokens": TOKENS},
            "records": {"top": TOP, "random": RANDOM, "per_quantile": 1},
            "explainer": {"kind": "llm", **role},
            "simulator": {"kind": "echo_logprobs", **role},
            "scoring": SCORING,
        },
    }


def _files_of(layer, neuron, excerpts, draw):
    order = sorted(range(EXCERPTS), key=lambda _: draw())
    order = [7, 8, *(n for n in order if n not in (7, 8))]
    records = [_record(excerpts[n], neuron, draw) for n in order[: TOP + RANDOM + 5]]
    records[1] = records[0]  # equal texts have equal activations
    top = sorted(records[:TOP], key=lambda record: -max(record["activations"]))
    chance, buckets = records[TOP : TOP + RANDOM], records[TOP + RANDOM :]
    named = f"{layer}/{neuron}.json"
    found = {
        f"collated-activations/{named}": {
            "neuron_id": _id(layer, neuron),
            "random_sample": chance,
            "random_sample_by_quantile": [[record] for record in buckets] if neuron % 2 else None,
            "quantile_boundaries": [0.25, 0.5, 1.5, 3.0] if neuron % 2 else None,
            "mean": -0.0625,
            "variance": 0.3 + layer,
            "skewness": None if neuron == DEAD else 1e-9,
            "kurtosis": 123456.75,
            "most_positive_activation_records": top,
            "dataclass_name": "NeuronRecord",
        },
        f"related-neurons/weight-based/{named}": _related_neurons(layer),
        f"related-tokens/activation-based/{named}": {
            "tokens": [" cat", "\n", "🦀", ""],
            "average_activations": [2.5, 1.125, 0.5, None],
            "dataclass_name": "TokenLookupTableSummaryOfNeuron",
        },
        f"related-tokens/weight-based/{named}": {
            **{
                f"{direction}_{sign}": {
                    "tokens": [" the", "\n"],
                    "strengths": [factor * 2.0, factor * 0.375],
                    "dataclass_name": "TokensAndWeights",
                }
                for direction in ("input", "output")
                for sign, factor in (("positive", 1), ("negative", -1))
            },
            "dataclass_name": "WeightBasedSummaryOfNeuron",
        },
    }
    if neuron != UNEXPLAINED:
        scored = [*top[2::4], *chance[1::3]]  # what is scored of each
        path = f"explanations/{layer}/{neuron}.jsonl"
        found[path] = _results(layer, neuron, scored, draw)
    return {path: _json(value) for path, value in found.items()}


def _id(layer, neuron):
    return {"layer_index": layer, "neuron_index": neuron, "dataclass_name": "NeuronId"}


def _record(tokens, neuron, draw):
    """Return a record of activations that are float16 numbers: sixteenths."""
    share = {DENSE: 0.9, SPARSE: 0.08, DEAD: 0.0}.get(neuron, 0.35)
    activations = [
        (int(draw() * 100) + 1) / 16 if draw() < share else -int(draw() * 3) / 16 for _ in tokens
    ]
    return {"tokens": tokens, "activations": activations, "dataclass_name": "ActivationRecord"}


def _related_neurons(layer):
    ends = {
        "top_positive_neurons": [f"{1 - layer}_0", f"{1 - layer}_3"],
        "top_positive_weights": [1.5, 0.25],
        "top_negative_neurons": [f"{1 - layer}_1"],
        "top_negative_weights": [-0.75],
    }
    return {"c_fc": ends if layer else None, "c_proj": None if layer else ends}


def _results(layer, neuron, scored, draw):
    undefined = dict.fromkeys(
        ("ev_correlation_score", "rsquared_score", "absolute_dev_explained_score")
    )
    sequences = [
        {
            "simulation": {
                "tokens": record["tokens"],
                "expected_activations": [int(draw() * 81) / 8 for _ in record["tokens"]],
                "activation_scale": "simulated_normalized_activations",
                "distribution_values": [[0, 4, 10]] * TOKENS if neuron % 2 == 0 else [],
                "distribution_probabilities": [[0.5, 0.25, 0.125]] * TOKENS
                if neuron % 2 == 0
                else [],
                "uncalibrated_simulation": None,
                "dataclass_name": "SequenceSimulation",
            },
            "true_activations": record["activations"],
            **undefined,
            "dataclass_name": "ScoredSequenceSimulation",
        }
        for record in scored
    ]
    simulation = {
        "scored_sequence_simulations": sequences,
        **undefined,
        "dataclass_name": "ScoredSimulation",
    }
    explanation = {
        "explanation": EXPLANATIONS[neuron],
        "scored_simulation": simulation,
        "dataclass_name": "ScoredExplanation",
    }
    return {
        "neuron_id": _id(layer, neuron),
        "scored_explanations": [explanation],
        "dataclass_name": "NeuronSimulationResults",
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(dataset(), indent=0) + "\n", encoding="utf-8")
