"""The shape of a subject model, read from its config.json without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neurogloss.errors import InputError
from neurogloss.subject.files import local_folder, model_file
from neurogloss.subject.json_object import read_object

_MAX_BYTES = 1_000_000  # of a config.json; GPT-2's has less than a thousand


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of a GPT-2.

    `n_positions` is the largest number of tokens that it reads at once. Where embeddings are tied,
    its output matrix is its token embedding. `width` is that of the residual stream.
    """

    n_layers: int
    neurons_per_layer: int
    n_positions: int
    vocab_size: int
    has_tied_embeddings: bool = True
    width: int = 0


@dataclass(frozen=True, slots=True)
class _Size:
    """A size of config.json, by GPT-2's name and by the one that models share."""

    name: str
    generic_name: str
    default: int
    maximum: int


# The defaults are those of transformers; the maxima are far above any GPT-2.
_LAYERS = _Size("n_layer", "num_hidden_layers", 12, 1_000)
_HEADS = _Size("n_head", "num_attention_heads", 12, 1_000)
_WIDTH = _Size("n_embd", "hidden_size", 768, 65_536)
_POSITIONS = _Size("n_positions", "max_position_embeddings", 1024, 1_048_576)
_VOCABULARY = _Size("vocab_size", "vocab_size", 50257, 10_000_000)
_MAX_NEURONS = 262_144
# Those of transformers that a layer of neurons may have: one value for each input.
_ACTIVATION_FUNCTIONS = (
    "gelu", "gelu_new", "gelu_fast", "gelu_python", "gelu_10", "gelu_accurate", "gelu_pytorch_tanh",
    "gelu_python_tanh", "quick_gelu", "relu", "relu2", "relu6", "leaky_relu", "silu", "swish",
    "mish", "hardswish", "sqrtsoftplus", "tanh", "sigmoid", "laplace", "linear",
)  # fmt: skip
_ATTENTIONS = (None, "eager", "sdpa")  # how transformers may compute attention anywhere

_PUBLIC = {
    "gpt2": Shape(12, 3072, 1024, 50257, width=768),
    "gpt2-medium": Shape(24, 4096, 1024, 50257, width=1024),
    "gpt2-large": Shape(36, 5120, 1024, 50257, width=1280),
    "gpt2-xl": Shape(48, 6400, 1024, 50257, width=1600),
    "distilgpt2": Shape(6, 3072, 1024, 50257, width=768),
}


def public_shape(model: str) -> Shape | None:
    """Return the shape of a public GPT-2 by its hub id, without asking the hub; None for others."""
    owner, _, name = model.rpartition("/")
    return _PUBLIC.get(name) if owner in ("", "openai-community", "distilbert") else None


def read_shape(model: str) -> Shape:
    """Return the shape of a subject model.

    Raises:
        InputError: The model does not exist, or is not a GPT-2 in safetensors.
    """
    path = model_file(model, "config.json")
    try:
        shape = shape_of(read_object(path, _MAX_BYTES))
    except InputError as error:
        raise InputError(f"subject.model = {model!r}: {error}") from error
    folder = local_folder(model)
    if folder is not None and not any(folder.glob("*.safetensors")):
        raise InputError(
            f"subject.model = {model!r} has no .safetensors file; other formats are not read"
        )
    return shape


def shape_of(config: Mapping[str, Any]) -> Shape:
    """Return the shape that the values of a config.json describe.

    Raises:
        InputError: They describe no GPT-2.
    """
    if (kind := config.get("model_type")) != "gpt2":
        raise InputError(f"it is not a GPT-2: config.json says model_type = {_shown(kind)}")
    _check_kind_of_layers(config)
    _check_loading(config)
    width, heads = _size(config, _WIDTH), _size(config, _HEADS)
    if width % heads:
        raise InputError(f"config.json: n_embd = {width} is not divisible by n_head = {heads}")
    # transformers does not know `intermediate_size` for a GPT-2, but converters write it.
    inner = _Size("n_inner", "intermediate_size", 4 * width, _MAX_NEURONS)
    return Shape(
        n_layers=_size(config, _LAYERS),
        neurons_per_layer=_size({k: v for k, v in config.items() if v is not None}, inner),
        n_positions=_size(config, _POSITIONS),
        vocab_size=_size(config, _VOCABULARY),
        has_tied_embeddings=_is_tied(config),
        width=width,
    )


def _size(config: Mapping[str, Any], size: _Size) -> int:
    given = {name: config[name] for name in (size.name, size.generic_name) if name in config}
    for name, value in given.items():
        _check_size(name, value, size.maximum)
    if len(set(given.values())) > 1:
        both = " and ".join(f"{name} = {value}" for name, value in given.items())
        raise InputError(f"config.json: {both} contradict each other")
    return int(next(iter(given.values()), size.default))


def _check_size(name: str, value: object, maximum: int) -> None:
    if type(value) is not int or not 1 <= value <= maximum:
        raise InputError(
            f"config.json: {name} = {_shown(value)} is not a whole number from 1 to {maximum:,}"
        )


def _check_kind_of_layers(config: Mapping[str, Any]) -> None:
    if config.get("add_cross_attention", False) is not False:
        raise InputError("config.json: add_cross_attention must be false: a decoder is not read")
    function = config.get("activation_function", "gelu_new")
    if function not in _ACTIVATION_FUNCTIONS:
        raise InputError(
            f"config.json: activation_function = {_shown(function)} is none of "
            f"{', '.join(_ACTIVATION_FUNCTIONS)}"
        )
    epsilon = config.get("layer_norm_epsilon", 1e-5)
    if not isinstance(epsilon, float) or not 0 < epsilon < 1:
        raise InputError(
            f"config.json: layer_norm_epsilon = {_shown(epsilon)} is not a number between 0 and 1"
        )


def _check_loading(config: Mapping[str, Any]) -> None:
    """Check what does not change activations, and would stop transformers from loading them."""
    if config.get("quantization_config"):
        raise InputError(
            "config.json: quantization_config: quantized weights are not read: save the model as "
            "float32, bfloat16 or float16"
        )
    for name in ("attn_implementation", "_attn_implementation"):
        if config.get(name, "eager") not in _ATTENTIONS:
            raise InputError(f"config.json: {name} = {_shown(config[name])}: remove it")
    for name in ("attn_pdrop", "embd_pdrop", "resid_pdrop"):
        value = config.get(name, 0.1)
        if type(value) not in (int, float) or not 0 <= value <= 1:
            raise InputError(f"config.json: {name} = {_shown(value)} is not a number from 0 to 1")


def _is_tied(config: Mapping[str, Any]) -> bool:
    value = config.get("tie_word_embeddings", True)
    if not isinstance(value, bool):
        raise InputError(f"config.json: tie_word_embeddings = {_shown(value)} is not true or false")
    return value


def _shown(value: object) -> str:
    """Return a value of JSON as text, of which a long one is cut."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deep, or an integer of too many digits
        text = type(value).__name__
    return text if len(text) <= 80 else f"{text[:80]}..."
