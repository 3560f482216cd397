"""Read related neurons and tokens from OpenAI's files."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurogloss.errors import InputError
from neurogloss.neurons.records import FloatArray
from orchestrator.datasets.json_reader import Checked, parse, same_length
from orchestrator.datasets.openai.reader import FLOAT32_MAX, MAX_LAYER, MAX_NEURON

_SIGNS = ("positive", "negative")


@dataclass(frozen=True, slots=True)
class Weighted:
    """Names of neurons or tokens and their weights, highest first."""

    names: list[str]
    weights: FloatArray


def read_related_neurons(content: bytes, file: str) -> dict[str, Weighted]:
    """Read related neurons by weight: `upstream` and `downstream`, each "layer_neuron".

    Raises:
        InputError: A value is missing or wrong.
    """
    top = parse(content, file)
    return {
        "upstream": _related_neurons(top.field("c_fc")),
        "downstream": _related_neurons(top.field("c_proj")),
    }


def _related_neurons(related: Checked) -> Weighted:
    if related.is_null:
        return Weighted([], np.array([]))
    fields = ((f"top_{sign}_neurons", f"top_{sign}_weights") for sign in _SIGNS)
    joined = _joined(*((related.field(names), related.field(weights)) for names, weights in fields))
    for place, text in enumerate(joined.names):
        _check_neuron_name(text, f"{related.file}: {related.path}", place)
    return joined


def neuron_of(name: str) -> tuple[int, int]:
    """Return (layer, neuron) of "layer_neuron"."""
    layer, neuron = name.split("_")
    return int(layer), int(neuron)


def _check_neuron_name(text: str, where: str, place: int) -> None:
    parts = text.split("_")
    if len(parts) == 2 and all(p.isascii() and p.isdecimal() and len(p) < 11 for p in parts):
        layer, neuron = map(int, parts)
        if layer <= MAX_LAYER and neuron <= MAX_NEURON:
            return
    raise InputError(f'{where}, neuron {place} is {text[:40]!r}, not of the form "5_131"')


def read_related_tokens(content: bytes, file: str) -> dict[str, Weighted]:
    """Read tokens by weight: `input` and `output`.

    Raises:
        InputError: A value is missing or wrong.
    """
    top = parse(content, file)
    return {direction: _related_tokens(top, direction) for direction in ("input", "output")}


def _related_tokens(top: Checked, direction: str) -> Weighted:
    ends = (top.field(f"{direction}_{sign}") for sign in _SIGNS)
    return _joined(*((end.field("tokens"), end.field("strengths")) for end in ends))


def _joined(*lists: tuple[Checked, Checked]) -> Weighted:
    """Join lists of names and weights, highest weight first, without NaN weights."""
    names: list[str] = []
    weights: list[float] = []
    for listed, strengths in lists:
        if listed.is_null:
            continue
        texts, numbers = listed.texts(), strengths.numbers(FLOAT32_MAX)
        same_length(numbers, strengths, len(texts), listed.path)
        names += texts
        weights += numbers.tolist()
    values = np.array(weights, np.float32)
    order = _falling(values)
    return Weighted([names[place] for place in order], values[order])


def _falling(values: Any) -> list[int]:
    """Return the places of values, highest first, without those that are NaN."""
    n = len(values)
    rank = np.arange(n)
    # Files list negative weights from the lowest up. Equal weights are put into the order that an
    # export would write, so that an import and its export are the same bytes.
    backwards = np.where(values > 0, rank, n - rank)
    order = np.lexsort((backwards, -values))
    return [int(place) for place in order if values[place] == values[place]]


def read_token_means(content: bytes, file: str) -> Weighted:
    """Read the tokens of the highest mean activation; a mean may be NaN.

    Raises:
        InputError: A value is missing or wrong.
    """
    top = parse(content, file)
    tokens, means = top.field("tokens"), top.field("average_activations")
    texts, numbers = tokens.texts(), means.numbers(FLOAT32_MAX)
    same_length(numbers, means, len(texts), "tokens")
    return Weighted(texts, numbers.astype(np.float32))
