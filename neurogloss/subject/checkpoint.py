"""Check that the weights of a model folder are those of the GPT-2 that its config.json describes.

Loading does not: transformers draws weights at random for names that it misses.
"""

import re
from collections.abc import Collection, Container, Iterable, Mapping, Sequence, Set
from itertools import islice

from neurogloss.errors import InputError
from neurogloss.subject.files import local_folder
from neurogloss.subject.hub_weights import hub_tensors
from neurogloss.subject.safetensors_header import StoredTensor, stored_tensors
from neurogloss.subject.shape import Shape

PREFIX = "transformer."
HEAD = "lm_head.weight"
EMBEDDING = "wte.weight"
_POSITIONS = "wpe.weight"
_FLOATS = {"F64", "F32", "F16", "BF16"}
_NAMED = 3  # names that a message shows
_LONGEST = 100  # characters of a name there
# Beside the model proper: masks that older versions stored, and heads, which come after its layers.
_HARMLESS = re.compile(
    r"h\.\d+\.(attn|crossattention)\.(masked_)?bias|(\w*head\w*|score|classifier)\..+"
)
# What wrappers put before names, or between their parts.
_WRAPPERS = re.compile(r"\b(?:_orig_mod|module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_LAYER = re.compile(r"\bh\.(\d+)\.")


def check_weights(model: str, shape: Shape) -> None:
    """Check the names, types and shapes of a model's weights, without reading the weights.

    Where the hub does not tell them, the worker that loads the model checks.

    Raises:
        InputError: A weight is missing, left over, or of another type or shape.
    """
    try:
        folder = local_folder(model)
        stored = hub_tensors(model) if folder is None else stored_tensors(folder)
        if stored is not None:
            check_tensors(stored, shape)
    except InputError as error:
        raise InputError(f"subject.model = {model!r}: {error}") from error


def check_tensors(stored: Mapping[str, StoredTensor], shape: Shape) -> None:
    """Check that tensors are the weights of a GPT-2 of a shape.

    Raises:
        InputError: One is missing, left over, or of another type or shape.
    """
    tensors = {name.removeprefix(PREFIX): tensor for name, tensor in stored.items()}
    if len(tensors) < len(stored):
        twice = sorted(name for name in tensors if name in stored and PREFIX + name in stored)
        raise InputError(f"weights are there twice, with and without {PREFIX}: {_listed(twice)}")
    expected = weight_shapes(shape)
    if shape.has_tied_embeddings and is_head_alone(expected.keys() - tensors.keys(), tensors):
        tensors[EMBEDDING] = tensors.pop(HEAD)  # one matrix under its other name
    if missing := [name for name in expected if name not in tensors]:
        raise InputError(_missing(missing, stored, expected, shape))
    left_over = tensors.keys() - expected.keys()
    _check_left_over({name: f"{tensors[name].file}: " for name in left_over}, shape)
    for name, sizes in expected.items():
        _check_tensor(name, tensors[name], sizes)


def weight_shapes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of a GPT-2's weights, as transformers names them."""
    width, inner = shape.width, shape.neurons_per_layer
    block: dict[str, tuple[int, ...]] = {
        "ln_1.weight": (width,),
        "ln_1.bias": (width,),
        "attn.c_attn.weight": (width, 3 * width),
        "attn.c_attn.bias": (3 * width,),
        "attn.c_proj.weight": (width, width),
        "attn.c_proj.bias": (width,),
        "ln_2.weight": (width,),
        "ln_2.bias": (width,),
        "mlp.c_fc.weight": (width, inner),
        "mlp.c_fc.bias": (inner,),
        "mlp.c_proj.weight": (inner, width),
        "mlp.c_proj.bias": (width,),
    }
    blocks = {
        f"h.{layer}.{name}": sizes
        for layer in range(shape.n_layers)
        for name, sizes in block.items()
    }
    embeddings = {EMBEDDING: (shape.vocab_size, width), _POSITIONS: (shape.n_positions, width)}
    return embeddings | blocks | {"ln_f.weight": (width,), "ln_f.bias": (width,)}


def is_head_alone(missing: Collection[str], others: Container[str]) -> bool:
    """Return whether only the embedding is missing, and the tied output matrix can replace it."""
    return set(missing) == {EMBEDDING} and HEAD in others


def check_loaded(missing: Collection[str], left_over: Iterable[str], shape: Shape) -> None:
    """Check the names that transformers reports as missing or unused.

    Raises:
        InputError: A weight was drawn at random, or left out.
    """
    if missing:
        raise InputError(f"{len(missing):,} weights are missing: {_listed(sorted(missing))}")
    _check_left_over({name.removeprefix(PREFIX): "" for name in left_over}, shape)


def _check_left_over(files: Mapping[str, str], shape: Shape) -> None:
    """Check that no weight beside those of the model, each with its file, is a part of it."""
    left_over = sorted(name for name in files if not _HARMLESS.fullmatch(name))
    if left_over:
        raise InputError(
            f"{files[left_over[0]]}weights have no place in a GPT-2 of n_layer = "
            f"{shape.n_layers}: {_listed(left_over)}. Its config.json must be the one "
            "that was saved with the weights, and adapters must be merged"
        )


def _listed(names: Sequence[str]) -> str:
    """Return the first of some names, as a message shows them."""
    more = "" if len(names) <= _NAMED else f" and {len(names) - _NAMED:,} more"
    return ", ".join(name[:_LONGEST] for name in islice(names, _NAMED)) + more


def _check_tensor(name: str, tensor: StoredTensor, expected: tuple[int, ...]) -> None:
    where = f"{tensor.file}: {name}"
    if tensor.dtype not in _FLOATS:
        raise InputError(
            f"{where} is of type {tensor.dtype}; quantized weights are not read: save the model as "
            "float32, bfloat16 or float16"
        )
    if tensor.shape == expected:
        return
    wrong = f"{where} has shape {_shape(tensor.shape)}; config.json makes it {_shape(expected)}"
    if tensor.shape == expected[::-1]:
        wrong += (
            ". It is transposed, as nanoGPT stores it: transpose attn.c_attn, attn.c_proj, "
            "mlp.c_fc and mlp.c_proj of every layer"
        )
    raise InputError(wrong)


def _shape(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes)) or "of a single number"


def _missing(
    missing: Sequence[str],
    stored: Mapping[str, StoredTensor],
    expected: Mapping[str, tuple[int, ...]],
    shape: Shape,
) -> str:
    files = _listed(sorted({tensor.file for tensor in stored.values()})) or "the weights"
    message = (
        f"{files}: {len(missing):,} of {len(expected):,} weights are missing, {_listed(missing)}"
    )
    if renaming := _renaming(stored.keys(), expected.keys()):
        return (
            f"{message}; there are {_listed(sorted(stored))}. Rename them, with safetensors.torch: "
            f"save_file({{{renaming}: tensor for name, tensor in load_file(FILE).items()}}, NEW)"
        )
    if all(name.endswith(".bias") for name in missing):
        return f"{message}. A model without biases is read if they are there as zeros"
    layers = {found[1] for name in stored if (found := _LAYER.search(name))}
    there = _listed(sorted(name for name in stored if name.removeprefix(PREFIX) not in expected))
    message += f"; others are there, {there}" if there else ""
    return f"{message}; config.json: n_layer = {shape.n_layers}, with weights: {len(layers)} layers"


def _renaming(names: Set[str], expected: Set[str]) -> str | None:
    """Return how each `name` would become right, in Python; None if that helps nothing."""
    wrappers = sorted({wrapper for name in names for wrapper in _WRAPPERS.findall(name)})
    inner = {_WRAPPERS.sub("", name) for name in names}
    found = next((name for name in sorted(inner) if name.endswith(_POSITIONS)), _POSITIONS)
    prefix = found.removesuffix(_POSITIONS).removesuffix(PREFIX)
    renamed = {name.removeprefix(prefix).removeprefix(PREFIX) for name in inner}
    # A renaming is suggested only if it makes more names right.
    if len(expected & renamed) <= len(expected & {name.removeprefix(PREFIX) for name in names}):
        return None
    steps = [f".replace({wrapper!r}, '')" for wrapper in wrappers]
    return "name" + "".join(steps + ([f".removeprefix({prefix!r})"] if prefix else []))
