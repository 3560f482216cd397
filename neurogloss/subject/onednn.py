"""Matrix products on the CPU by oneDNN, which torch has beside MKL, its default.

On an AMD EPYC of family 26, float32, (2048, 768) @ (768, 3072): MKL does 230 GFLOP/s, oneDNN 500.
torch offers oneDNN for float32 only under the private name that its compiler emits. So we check
that the name is there, and leave MKL in place where it is not.

Where it is there it is always used, and not the faster of the two by a measurement: their products
differ in the last bit, and a measurement on a busy machine would choose now the one and now the
other, so that a run would give other bits in another worker, or on another day. oneDNN was never
seen to be the slower one (family 25: 86 and 100 GFLOP/s in one thread).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers.pytorch_utils import Conv1D


class OneDnnConv1D(torch.nn.Module):
    """A `Conv1D` of transformers, with the same `weight` (in, out) and `bias` (out,), on oneDNN."""

    def __init__(self, conv: Conv1D) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x (..., in) @ weight + bias, of shape (..., out)."""
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.weight.T, self.bias, "none", [], ""
        )
        return product


def use_onednn(model: torch.nn.Module) -> None:
    """Replace the `Conv1D` modules of a float32 model on the CPU; leave other models unchanged."""
    weight = next(model.parameters())
    if (weight.device.type, weight.dtype) != ("cpu", torch.float32) or not _available():
        return
    for name, module in list(model.named_modules()):
        if isinstance(module, Conv1D):
            model.set_submodule(name, OneDnnConv1D(module))


def _available() -> bool:
    built = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    return built and hasattr(torch.ops.mkldnn, "_linear_pointwise")


@contextmanager
def without_onednn(model: torch.nn.Module) -> Iterator[None]:
    """Use `Conv1D` modules with the same weights for now: oneDNN's product has no derivative."""
    replaced = [
        (name, module) for name, module in model.named_modules() if isinstance(module, OneDnnConv1D)
    ]
    for name, module in replaced:
        model.set_submodule(name, _conv_of(module))
    try:
        yield
    finally:
        for name, module in replaced:
            model.set_submodule(name, module)


def _conv_of(module: OneDnnConv1D) -> Conv1D:
    conv: Conv1D = Conv1D(1, 1)  # type: ignore[no-untyped-call]
    conv.nf, conv.nx = len(module.bias), len(module.weight)
    conv.weight, conv.bias = module.weight, module.bias
    return conv
