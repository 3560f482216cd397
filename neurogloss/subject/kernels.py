"""Which kernels of a GPU compute a forward pass.

Left alone, torch chooses the kernel of attention by the shape of a batch, the card and its version.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import GPT2Model

# The first takes every precision, and was the fastest on an H100; the second is always there.
_ATTENTION = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


@contextmanager
def pinned_kernels(model: GPT2Model) -> Iterator[None]:
    """Fix the kernels of attention, and the precision of products, while the context is open.

    Products of float32 are rounded to TF32 where `model.config.matmul` is `tf32`; only CUDA has it.
    """
    if model.device.type != "cuda":
        yield
        return
    products = torch.backends.cuda.matmul
    before = products.fp32_precision
    products.fp32_precision = (
        "tf32" if getattr(model.config, "matmul", "float32") == "tf32" else "ieee"
    )
    try:
        with sdpa_kernel(_ATTENTION):
            yield
    finally:
        products.fp32_precision = before
