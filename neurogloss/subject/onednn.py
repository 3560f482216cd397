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
from transformers.activations import GELUTanh
from transformers.pytorch_utils import Conv1D

_INTO_MLP = "mlp.c_fc"
_MOST_COPIED = 1_250_000_000  # bytes of weights: up to those of GPT-2 medium


class OneDnnConv1D(torch.nn.Module):
    """A `Conv1D` of transformers, with the same `weight` (in, out) and `bias` (out,), on oneDNN.

    With `gelu`, the product goes through GELU by its formula with tanh before it is written.
    """

    def __init__(self, conv: Conv1D, *, gelu: bool = False) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.packed: torch.Tensor | None = None  # the weight as oneDNN lays it out for itself
        self._after: tuple[str, list[float], str] = (
            ("gelu", [], "tanh") if gelu else ("none", [], "")
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x (..., in) @ weight + bias, of shape (..., out)."""
        weight = self.weight.T if self.packed is None else self.packed
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            x, weight, self.bias, *self._after
        )
        return product

    def pack(self) -> None:
        """Lay out a copy of the weight for the product, whose bits stay the same."""
        weight = self.weight.T.contiguous()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight)


class _FusedGelu(torch.nn.Identity):
    """Stands for the GELU of an MLP, which the product before it has applied already."""

    def __init__(self, gelu: torch.nn.Module) -> None:
        super().__init__()
        self.apart = [gelu]  # a list, whose modules are no submodules


def use_onednn(model: torch.nn.Module) -> None:
    """Replace the `Conv1D` modules of a float32 model on the CPU; leave other models unchanged.

    GELU goes into the product before it. By itself it takes longer than that product where the
    residual stream is narrow, and 6 % of a forward pass of GPT-2 small.
    """
    weight = next(model.parameters())
    if (weight.device.type, weight.dtype) != ("cpu", torch.float32) or not _available():
        return
    for name, module in list(model.named_modules()):
        if isinstance(module, Conv1D):
            act = _gelu_after(model, name)
            model.set_submodule(name, OneDnnConv1D(module, gelu=act is not None))
            if act is not None:
                model.set_submodule(_act_of(name), _FusedGelu(act))


def _gelu_after(model: torch.nn.Module, name: str) -> torch.nn.Module | None:
    """Return the GELU, by its formula with tanh, that follows the product of this name, if any."""
    if not name.endswith(_INTO_MLP):
        return None
    act = model.get_submodule(_act_of(name))
    return act if isinstance(act, GELUTanh) else None


def _act_of(name: str) -> str:
    return name.removesuffix(_INTO_MLP) + "mlp.act"


def _available() -> bool:
    built = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    names = ("_linear_pointwise", "_reorder_linear_weight")
    return built and all(hasattr(torch.ops.mkldnn, name) for name in names)


@contextmanager
def packed_weights(model: torch.nn.Module) -> Iterator[None]:
    """Pack the weights of the products on oneDNN while many batches are read.

    Otherwise each product lays out its weight anew, a tenth of a forward pass of GPT-2's shape on
    an AMD EPYC of family 25. Larger models do without: the copies would double their memory, and
    the bits are the same.
    """
    modules = [module for module in model.modules() if isinstance(module, OneDnnConv1D)]
    is_small = sum(module.weight.nbytes for module in modules) <= _MOST_COPIED
    try:
        for module in modules if is_small else []:
            module.pack()
        yield
    finally:
        for module in modules:
            module.packed = None


@contextmanager
def without_onednn(model: torch.nn.Module) -> Iterator[None]:
    """Use `Conv1D` modules with the same weights for now: oneDNN's product has no derivative."""
    replaced = [
        (name, module, apart)
        for name, module in model.named_modules()
        if (apart := _apart(module)) is not None
    ]
    for name, _, apart in replaced:
        model.set_submodule(name, apart)
    try:
        yield
    finally:
        for name, module, _ in replaced:
            model.set_submodule(name, module)


def _apart(module: torch.nn.Module) -> torch.nn.Module | None:
    """Return the module of transformers that one of ours stands for."""
    if isinstance(module, _FusedGelu):
        return module.apart[0]
    return _conv_of(module) if isinstance(module, OneDnnConv1D) else None


def _conv_of(module: OneDnnConv1D) -> Conv1D:
    conv: Conv1D = Conv1D(1, 1)  # type: ignore[no-untyped-call]
    conv.nf, conv.nx = len(module.bias), len(module.weight)
    conv.weight, conv.bias = module.weight, module.bias
    return conv
