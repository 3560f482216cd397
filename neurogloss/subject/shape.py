"""What a plan must know of the subject model: its shape and its tokenizer. Needs no torch."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from tokenizers import Tokenizer

from neurogloss.errors import InputError

DEMO_FOLDER = Path(__file__).parent / "demo"


@dataclass(frozen=True, slots=True)
class Shape:
    """The MLP neurons of a GPT-2, how many tokens it reads at once, and how it writes them."""

    n_layers: int
    neurons_per_layer: int
    n_positions: int
    vocab_size: int
    has_tied_embeddings: bool = True


def read_shape(model: str) -> Shape:
    """Return the shape of a subject model, from its config.json.

    Raises:
        InputError: The model is not there, or is no GPT-2.
    """
    path = _file(model, "config.json")
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"subject.model = {model!r}: {path} cannot be read: {error}") from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind != "gpt2":
        raise InputError(
            f"subject.model = {model!r} is no GPT-2: its config.json says model_type = {kind!r}"
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


def read_tokenizer(model: str) -> Tokenizer:
    """Return the subject's tokenizer.

    Raises:
        InputError: There is no tokenizer.json that can be read.
    """
    path = _file(model, "tokenizer.json")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise InputError(f"subject.model = {model!r}: {path} cannot be read: {error}") from error


def token_texts(tokenizer: Tokenizer, vocab_size: int) -> list[str]:
    """Return what each token reads as alone; a part of a character reads as U+FFFD."""
    return [tokenizer.decode([token], skip_special_tokens=False) for token in range(vocab_size)]


def vocabulary_digest(texts: list[str]) -> str:
    """Return a name for a vocabulary, by its content."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def _file(model: str, name: str) -> Path:
    folder = DEMO_FOLDER if model == "demo" else Path(model)
    if (folder / name).is_file():
        return folder / name
    if folder.is_dir():
        raise InputError(f"subject.model = {model!r}: there is no {name} in this folder")
    try:
        return Path(hf_hub_download(model, name))
    except Exception as error:  # hub, network and name errors have no common base
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"subject.model = {model!r} is neither a folder nor a model of the hub: {reason}"
        ) from error
