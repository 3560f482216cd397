"""What the parts share: models and tokens, times, digests, and where findings go."""

import gc
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import GPT2Config, GPT2Model

from neurogloss.neurons.records import FloatArray, IntArray
from neurogloss.neurons.sampling import neuron_keys
from neurogloss.neurons.selection import RecordCounts
from neurogloss.subject.collection import collect
from neurogloss.subject.layer_collector import LayerPart, LayerPlan

TOKENS = 64
COUNTS = RecordCounts(50_000, 20, 20, 5)
PRECISIONS = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
PRODUCTS = ("float32", "tf32", "bfloat16")  # the precisions in which speed and bits are measured
_SHAPES = {
    "gpt2": {"n_layer": 12, "n_embd": 768, "n_head": 12},
    "gpt2-xl": {"n_layer": 48, "n_embd": 1600, "n_head": 25},
}
_SMALL = {
    "gpt2": {"n_layer": 2, "n_embd": 64, "n_head": 2},
    "gpt2-xl": {"n_layer": 3, "n_embd": 64, "n_head": 2},
}


class Bench:
    """The device, the sizes, and the report of a run of the benchmark."""

    def __init__(
        self, small: bool, out: Path | None = None, precisions: Sequence[str] = PRODUCTS
    ) -> None:
        self.small, self.out, self.precisions = small, out, precisions
        self.has_cuda = torch.cuda.is_available()
        self.device = torch.device("cuda", 0) if self.has_cuda else torch.device("cpu")
        self.vocabulary = 500 if small else 50257
        self.shapes = _SMALL if small else _SHAPES
        self._part, self._began = "", time.perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Name what is said meanwhile, and say how long it took."""
        self._part, began = name, time.perf_counter()
        yield
        self.say("took", seconds=round(time.perf_counter() - began, 1))

    def say(self, finding: str, **values: Any) -> None:
        """Report a finding."""
        at = round(time.perf_counter() - self._began, 1)
        line = json.dumps({"part": self._part, "finding": finding, **values, "at": at}, default=str)
        print(line, flush=True)
        if self.out is not None:
            with (self.out / "results.jsonl").open("a") as log:
                log.write(line + "\n")

    def model(
        self,
        shape: str,
        precision: str = "float32",
        *,
        layers: int | None = None,
        device: torch.device | None = None,
    ) -> GPT2Model:
        """Return a GPT-2 with random weights, and set the precision of float32 products."""
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        torch.manual_seed(0)
        sizes = {**self.shapes[shape], **({"n_layer": layers} if layers else {})}
        config = GPT2Config(
            **sizes,
            vocab_size=self.vocabulary,
            activation_function="gelu_pytorch_tanh",
            bos_token_id=0,
            eos_token_id=0,
        )
        with torch.device(device or self.device):
            model = GPT2Model(config)
        model.config.matmul = "tf32" if precision == "tf32" else "float32"
        return model.to(PRECISIONS[precision]).requires_grad_(False).train(False)

    def tokens(self, n: int) -> IntArray:
        """Return the tokens of n excerpts, int32 (n, TOKENS)."""
        return np.random.default_rng(0).integers(0, self.vocabulary, (n, TOKENS), dtype=np.int32)

    def synchronize(self) -> None:
        """Wait until the device has done what it was told to do."""
        if self.has_cuda:
            torch.cuda.synchronize()

    def seconds(self, do: Callable[[], object], n: int = 3, warm: int = 1) -> float:
        """Return the median time of n calls, after some to warm up."""
        for _ in range(warm):
            do()
        found = []
        for _ in range(n):
            self.synchronize()
            began = time.perf_counter()
            do()
            self.synchronize()
            found.append(time.perf_counter() - began)
        return sorted(found)[n // 2]


def release() -> None:
    """Give the memory of models and tensors that are gone back to the device."""
    torch.backends.cuda.matmul.allow_tf32 = False
    gc.collect()
    torch.cuda.empty_cache()


def plans_of(
    model: GPT2Model, boundaries: Mapping[int, FloatArray] | None = None
) -> dict[int, LayerPlan]:
    """Return plans for all neurons of a model."""
    neurons = np.arange(4 * model.config.n_embd)
    return {
        layer: LayerPlan(neurons, neuron_keys(0, layer, neurons), boundaries and boundaries[layer])
        for layer in range(model.config.n_layer)
    }


def parts_of(
    model: GPT2Model, tokens: IntArray, within: range, plans: dict[int, LayerPlan]
) -> dict[int, LayerPart]:
    """Collect excerpts, of which `tokens` are those `within` and no others."""
    return dict(collect(model, tokens, within.start, within, plans, COUNTS))


def digest(*arrays: Any) -> str:
    """Return a hash of the bits of arrays."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:12]


def digest_of_part(part: LayerPart) -> str:
    """Return a hash of all bits of a part but its maxima."""
    kept = part.kept
    sums = [block.sums for block in part.blocks]
    return digest(kept.columns, kept.excerpts, kept.activations, part.nonfinite, *sums)
