"""The shape of a subject model, read from its config.json without torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurogloss.errors import InputError
from neurogloss.subject.files import model_file


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of a GPT-2.

    `n_positions` is the largest number of tokens that it reads at once. Where embeddings are tied,
    its output matrix is its token embedding.
    """

    n_layers: int
    neurons_per_layer: int
    n_positions: int
    vocab_size: int
    has_tied_embeddings: bool = True


def read_shape(model: str) -> Shape:
    """Return the shape of a subject model.

    Raises:
        InputError: The model does not exist, or is not a GPT-2 in safetensors.
    """
    path = model_file(model, "config.json")
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"subject.model = {model!r}: {path} cannot be read: {error}") from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind != "gpt2":
        raise InputError(
            f"subject.model = {model!r} is not a GPT-2: its config.json says model_type = {kind!r}"
        )
    if Path(model).is_dir() and not any(Path(model).glob("*.safetensors")):
        raise InputError(
            f"subject.model = {model!r} has no .safetensors file; other formats are not read"
        )
    return Shape(
        n_layers=config["n_layer"],
        neurons_per_layer=config.get("n_inner") or 4 * config["n_embd"],
        n_positions=config.get("n_positions", 1024),
        vocab_size=config["vocab_size"],
        has_tied_embeddings=config.get("tie_word_embeddings", True),
    )
