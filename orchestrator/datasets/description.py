"""`dataset.json`: the subject model of an exported dataset, and the configuration of its run."""

from typing import Any

import orjson

from orchestrator.datasets.exported import ExportedRun

FILE = "dataset.json"
VERSION = 1

# According to its erratum, OpenAI recorded the activations of its files with this variant of GELU,
# which differs slightly from the one in the published GPT-2.
OPTIMIZED_GELU = "optimized GELU"
DEFAULT_ACTIVATION = "gelu_new"


def description(run: ExportedRun) -> dict[str, Any]:
    """Return the description of a run."""
    config = run.config
    # A dataset may be published: the run's name, its endpoints and limits are left out.
    parts = {"subject", "corpus", "records", "neurons", "explainer", "simulator", "scoring"}
    return {
        "version": VERSION,
        "n_layers": run.row.n_layers,
        "neurons_per_layer": run.row.neurons_per_layer,
        "activation_function": activation_function(run),
        "configuration": config.model_dump(mode="json", include=parts),
    }


def activation_function(run: ExportedRun) -> str:
    """Return the variant of GELU with which the activations were recorded."""
    return DEFAULT_ACTIVATION if run.origin is None else run.origin.activation_function


def description_json(run: ExportedRun) -> bytes:
    """Return the content of `dataset.json`."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(description(run), option=options)
