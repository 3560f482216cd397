"""`dataset.json`: what an exported dataset is of, and how it was made."""

from typing import Any

import orjson

from orchestrator.datasets.exported import ExportedRun

FILE = "dataset.json"
VERSION = 1

OPTIMIZED_GELU = "optimized GELU"  # what OpenAI's files were made with, by its erratum
DEFAULT_ACTIVATION = "gelu_new"


def description(run: ExportedRun) -> dict[str, Any]:
    """Return the description of a run: neither its name nor anything that is secret."""
    config = run.config
    parts = {"subject", "corpus", "records", "neurons", "explainer", "simulator", "scoring"}
    return {
        "version": VERSION,
        "n_layers": run.row.n_layers,
        "neurons_per_layer": run.row.neurons_per_layer,
        "activation_function": activation_function(run),
        "configuration": config.model_dump(mode="json", include=parts),
    }


def activation_function(run: ExportedRun) -> str:
    """Return which GELU the subject model was read with."""
    return DEFAULT_ACTIVATION if run.origin is None else run.origin.activation_function


def description_json(run: ExportedRun) -> bytes:
    """Return the content of `dataset.json`."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(description(run), option=options)
