"""How far each precision is from float64, and what keeps the bits of an activation."""

import numpy as np
import torch
from transformers import GPT2Model

from benchmarks.gpu.bench import Bench, digest, parts_of, plans_of
from neurogloss.neurons.records import FloatArray, IntArray
from neurogloss.subject.model import forward, on_activations

_SIZES = (32, 64, 128, 256, 512, 1024)


def agreement(bench: Bench) -> None:
    """Compare the last layer's activations with those of float64 on the CPU."""
    n, layers = (32, 2) if bench.small else (96, 12)
    tokens, like = bench.tokens(n), bench.model("gpt2", layers=layers)
    state = {name: tensor.cpu() for name, tensor in like.state_dict().items()}
    exact = bench.model("gpt2", layers=layers, device=torch.device("cpu")).double()
    exact.load_state_dict(state)
    reference = _last_activations(exact, tokens)
    for precision in ("float32", "tf32", "bfloat16", "float16"):
        model = bench.model("gpt2", precision, layers=layers)
        model.load_state_dict(state)
        found = _last_activations(model, tokens)
        bench.say(
            "against float64",
            precision=precision,
            relative=float((found - reference).norm() / reference.norm()),
            same_float16=float((found.half() == reference.half()).double().mean()),
            same_top_20=_shared_top(found, reference),
        )


def _last_activations(model: GPT2Model, tokens: IntArray) -> torch.Tensor:
    kept: list[torch.Tensor] = []
    with on_activations(model, [model.config.n_layer - 1], lambda _, a: kept.append(a)):
        forward(model, tokens)
    return kept[0].double().cpu()


def _shared_top(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the share of each neuron's 20 highest excerpts that both have."""
    tops = [found.half().amax(1).topk(20, dim=0).indices.T.tolist() for found in (one, other)]
    return float(np.mean([len(set(a) & set(b)) / 20 for a, b in zip(*tops, strict=True)]))


def bits(bench: Bench) -> None:
    """Say which batches give the first 32 excerpts the same bits as the largest one does."""
    n, layers = (64, 2) if bench.small else (1024, 4)
    for shape in bench.shapes:
        for precision in bench.precisions:
            found = _digests(bench.model(shape, precision, layers=layers), bench.tokens(n))
            same = [name for name, bits in found.items() if bits == found[str(n)]]
            others = sorted(found.keys() - same)
            bench.say("batches", shape=shape, precision=precision, same=same, differ=others)


def _digests(model: GPT2Model, tokens: IntArray) -> dict[str, str]:
    n = len(tokens)
    found = {str(size): _digest(model, tokens[:size], 0) for size in _SIZES if size <= n}
    found["again"] = _digest(model, tokens, 0)
    found["in the last place"] = _digest(model, np.concatenate([tokens[32:], tokens[:32]]), n - 32)
    padded = tokens.copy()
    padded[32:] = 0
    found["beside padding"] = _digest(model, padded, 0)
    return found


def _digest(model: GPT2Model, tokens: IntArray, at: int) -> str:
    kept: list[FloatArray] = []

    def keep(_: int, activations: torch.Tensor) -> None:
        kept.append(activations[at : at + 32].half().cpu().numpy())

    with on_activations(model, [model.config.n_layer - 1], keep):
        forward(model, tokens)
    return digest(kept[0])


def cuts(bench: Bench) -> None:
    """Say whether collect gives the same bits however a range of excerpts is cut into shards."""
    n = 256 if bench.small else 1024
    tokens = bench.tokens(n)
    for precision in bench.precisions:
        model = bench.model("gpt2", precision, layers=2)
        found = {size: _activations_by_shards(model, tokens, size) for size in (n, n // 2, 96, 32)}
        same = [size for size, bits in found.items() if bits == found[n]]
        bench.say("shards of", precision=precision, same=same, differ=sorted(found.keys() - same))


def _activations_by_shards(model: GPT2Model, tokens: IntArray, size: int) -> str:
    """Return a digest of the maxima of all neurons and excerpts, and of the sums of powers."""
    plans = plans_of(model)
    layer, found = model.config.n_layer - 1, []
    for start in range(0, len(tokens), size):
        within = range(start, min(start + size, len(tokens)))
        part = parts_of(model, tokens[start : within.stop], within, plans)[layer]
        found.append(part.maxima)
    return digest(np.concatenate(found))
