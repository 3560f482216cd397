"""Comparing a dataset in OpenAI's format, field by field, with what an export made of it."""

import json
import math

import numpy as np

NOT_KEPT = ("source_file", "weird")  # of `mixed_dataset`: no version of the format has them


def values_of(root):
    """Return the values of a dataset's files, by path."""
    paths = [*root.rglob("*.json"), *root.rglob("*.jsonl")]
    texts = {path.relative_to(root).as_posix(): path.read_text("utf-8") for path in paths}
    return {path: json.loads(text) for path, text in texts.items()}


def dataset_changes(before, after):
    """Yield where datasets differ, by what is kept: of several explanations the first one.

    `before` has values and `after` the bytes of files, by path.
    """
    for path, value in before.items():
        if "scored_explanations" in value:
            value = value | {"scored_explanations": value["scored_explanations"][:1]}
        yield from changes(value, json.loads(after[path]), path)


def changes(before, after, path=""):
    """Yield the paths at which values differ; a missing key, null and NaN are the same."""
    if isinstance(before, dict):
        for key in before.keys() - set(NOT_KEPT):
            yield from changes(before[key], (after or {}).get(key), f"{path}.{key}")
    elif isinstance(before, list):
        if len(before) != len(after or []):
            yield f"{path} has {len(before)} and {len(after or [])}"
        for place, pair in enumerate(zip(before, after or [], strict=False)):
            yield from changes(*pair, f"{path}[{place}]")
    elif _as_kept(before, path) != _as_kept(after, path):
        yield f"{path} is {before!r} and {after!r}"


def _as_kept(value, path):
    """Return a value as it is stored: NaN as null, activations and probabilities as float16."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    is_rounded = "activations[" in path or "probabilities[" in path
    return np.float16(value) if is_rounded else value
