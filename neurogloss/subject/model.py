"""The subject model: loading a GPT-2, and forward passes that end at the MLP activations."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

import numpy as np
import torch
from transformers import AutoConfig, GPT2Config, GPT2Model

from neurogloss.errors import CannotCollect, InputError
from neurogloss.neurons.records import IntArray
from neurogloss.subject.checkpoint import (
    EMBEDDING,
    HEAD,
    PREFIX,
    check_loaded,
    check_weights,
    is_head_alone,
)
from neurogloss.subject.device import find_device, name_of
from neurogloss.subject.files import cached_folder, local_folder
from neurogloss.subject.kernels import pinned_kernels
from neurogloss.subject.onednn import use_onednn
from neurogloss.subject.shape import read_shape

log = logging.getLogger(__name__)

Dtype = Literal["float32", "bfloat16", "float16"]
Matmul = Literal["float32", "tf32"]
OnActivations = Callable[[int, torch.Tensor], None]
_FUSED = {"gelu_new": "gelu_pytorch_tanh"}  # the same formula in one kernel


def load_subject(model: str, dtype: Dtype = "float32", matmul: Matmul = "float32") -> GPT2Model:
    """Load a GPT-2 without its LM head onto the device of this process.

    Only safetensors are read, because a pickled checkpoint can run code.

    Args:
        model: A hub id, a folder, or `demo`.
        dtype: Of weights and activations.
        matmul: With `tf32`, CUDA rounds the factors of float32 products to TF32.

    Raises:
        CannotCollect: The model is missing, is not a GPT-2, or has no safetensors; or its weights
            are not those that its configuration describes; or the device is not there.
    """
    device = find_device()
    try:
        subject = _read(model, dtype)
    except InputError as error:
        raise CannotCollect(str(error)) from error
    except Exception as error:  # what may be wrong with a folder has no common class
        reason = f"{type(error).__name__}: {error}"
        raise CannotCollect(f"subject.model = {model!r} cannot be loaded: {reason}") from error
    subject.requires_grad_(False).train(False)
    # Not `subject.to`: the wrapper of transformers loses its types.
    torch.nn.Module.to(subject, device)
    subject.config.matmul = matmul
    use_onednn(subject)
    log.info("subject loaded", extra={"model": model, "dtype": dtype, "device": name_of(device)})
    return subject


def _read(model: str, dtype: Dtype) -> GPT2Model:
    shape = read_shape(model)
    check_weights(model, shape)
    if local_folder(model) is None and cached_folder(model) is None:
        # Its rate and the time left are on standard error, by the hub's own library.
        log.info("subject downloading", extra={"model": model})
    name = str(local_folder(model) or model)
    config = AutoConfig.from_pretrained(name)
    config.activation_function = _FUSED.get(config.activation_function, config.activation_function)
    config.n_inner = shape.neurons_per_layer
    subject, report = _from_pretrained(name, config, dtype)
    if shape.has_tied_embeddings and is_head_alone(
        report["missing_keys"], report["unexpected_keys"]
    ):
        names = {rf"^{re.escape(HEAD)}$": PREFIX + EMBEDDING}
        subject, report = _from_pretrained(name, config, dtype, key_mapping=names)
    # A folder was checked above; this also covers models of the hub.
    check_loaded(report["missing_keys"], report["unexpected_keys"], shape)
    return subject


def _from_pretrained(
    name: str, config: GPT2Config, dtype: Dtype, **options: Any
) -> tuple[GPT2Model, dict[str, Any]]:
    loaded: Any = GPT2Model.from_pretrained(
        name,
        config=config,
        dtype=getattr(torch, dtype),
        use_safetensors=True,
        output_loading_info=True,
        **options,
    )
    subject, report = loaded
    return subject, report


class _LastLayerReached(Exception):
    """Ends a forward pass, as no later layer is needed."""


@contextmanager
def _stopping_after(model: GPT2Model, layer: int) -> Iterator[None]:
    """End forward passes after the activations of a layer while the context is open."""

    def stop(module: torch.nn.Module, args: object) -> None:
        raise _LastLayerReached

    handle = model.get_submodule(f"h.{layer}.mlp.c_proj").register_forward_pre_hook(stop)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def on_activations(model: GPT2Model, layers: list[int], keep: OnActivations) -> Iterator[None]:
    """Call `keep(layer, activations)` in every forward pass while the context is open.

    Activations are those after GELU, the input of `mlp.c_proj`: (batch, position, d_mlp), on the
    model's device. Forward passes end at the last of the layers.
    """
    handles = [
        model.get_submodule(f"h.{layer}.mlp.act").register_forward_hook(_hook(layer, keep))
        for layer in layers
    ]
    try:
        with _stopping_after(model, max(layers)):
            yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(
    layer: int, keep: OnActivations
) -> Callable[[torch.nn.Module, object, torch.Tensor], None]:
    def hook(module: torch.nn.Module, args: object, output: torch.Tensor) -> None:
        keep(layer, output)

    return hook


@torch.inference_mode()
def forward(model: GPT2Model, tokens: IntArray) -> None:
    """Run tokens, int (batch, position), through the model, for its hooks."""
    ids = torch.from_numpy(tokens.astype(np.int64))
    if model.device.type == "cuda":  # the copy overlaps with the preparation of the kernels
        ids = ids.pin_memory().to(model.device, non_blocking=True)
    with suppress(_LastLayerReached), pinned_kernels(model):
        model(input_ids=ids.to(model.device), use_cache=False)


def mlp_width(model: GPT2Model) -> int:
    """Return the number of neurons in a layer."""
    return int(model.config.n_inner or 4 * model.config.n_embd)
