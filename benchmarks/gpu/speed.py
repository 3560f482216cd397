"""What collect takes beside the bare forward pass, and where; in seconds for 50,000 excerpts."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from transformers import GPT2Model

from benchmarks.gpu.bench import COUNTS, TOKENS, Bench, parts_of, plans_of, release
from neurogloss.neurons.records import IntArray
from neurogloss.neurons.selection import KeptExcerpts, rank_excerpts
from neurogloss.subject.layer_collector import LayerCollector, LayerPlan
from neurogloss.subject.model import forward, on_activations
from neurogloss.subject.token_sums import TokenSums

_CORPUS = 50_000
_FIRST = 5120  # a range of excerpts after the reference
_BOUNDARIES = np.float32([0.1, 0.2, 0.4, 0.8])


def speed(bench: Bench) -> None:
    """Measure shapes and precisions."""
    for shape, n in (("gpt2", 2048), ("gpt2-xl", 512)):
        for precision in bench.precisions:
            model = bench.model(shape, precision)
            values = _of_model(bench, model, 64 if bench.small else n)
            bench.say("s for 50,000 excerpts", shape=shape, precision=precision, **values)
            del model
            release()


def _of_model(bench: Bench, model: GPT2Model, n: int) -> dict[str, float]:
    tokens, scale = bench.tokens(n), _CORPUS / n
    found = {}
    for batch in (32, 128, 256, 512):
        if batch <= n:
            seconds = bench.seconds(partial(_bare, model, tokens, batch), 1)
            found[f"bare, {batch} at once"] = round(seconds * scale, 1)
    if bench.has_cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds = bench.seconds(collect_once(model, tokens), 1)
    found["collect, nothing known"] = round(seconds * scale, 1)
    seconds = bench.seconds(collect_once(model, tokens, knows_bars=True), 1)
    found["collect, bars known"] = round(seconds * scale, 1)
    if bench.has_cuda:
        found["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 1)
    found["token sums of 3 layers"] = round(_token_sums(bench, model, tokens) * scale, 1)
    return found


def collect_once(
    model: GPT2Model, tokens: IntArray, *, knows_bars: bool = False
) -> Callable[[], object]:
    """Return a function that collects excerpts, with boundaries, as after the reference.

    With bars it keeps only what might replace a record of the excerpts before, as most shards do.
    """
    boundaries = np.tile(_BOUNDARIES, (4 * model.config.n_embd, 1))
    plans = plans_of(model, dict.fromkeys(range(model.config.n_layer), boundaries))
    if knows_bars:
        before = range(_FIRST - 512, _FIRST)
        found = parts_of(model, tokens[: len(before)], before, plans)
        plans = {layer: _with_bars(plans[layer], found[layer].kept) for layer in plans}
    within = range(_FIRST, _FIRST + len(tokens))
    return lambda: parts_of(model, tokens, within, plans)


def _with_bars(plan: LayerPlan, kept: KeptExcerpts) -> LayerPlan:
    ranking = rank_excerpts(kept, COUNTS, plan.keys, plan.boundaries)
    return replace(plan, bars=ranking.bars(kept.columns, len(plan.neurons)))


def _bare(model: GPT2Model, tokens: IntArray, batch: int) -> None:
    with on_activations(model, [model.config.n_layer - 1], lambda *_: None):
        for start in range(0, len(tokens), batch):
            forward(model, tokens[start : start + batch])


def _token_sums(bench: Bench, model: GPT2Model, tokens: IntArray) -> float:
    """Return the seconds of a pass that ends at the last layer, for sums of the last three."""
    layers = range(max(0, model.config.n_layer - 3), model.config.n_layer)
    sums = TokenSums(model, {layer: range(4 * model.config.n_embd) for layer in layers})
    return bench.seconds(lambda: sums.add(tokens), 1)


def moments(bench: Bench) -> None:
    """Measure what one layer's collector does with a batch of 512 excerpts, without a model."""
    n, width = (64, 64) if bench.small else (512, 6400)
    activations = torch.randn(n, TOKENS, width, device=bench.device)
    neurons = np.arange(width)
    plan = LayerPlan(neurons, neurons.astype(np.int64), np.tile(_BOUNDARIES, (width, 1)))

    def read() -> None:
        within = range(_FIRST, _FIRST + n)
        collector = LayerCollector(plan, COUNTS, within, TOKENS, bench.device)
        collector.read(activations, _FIRST)
        bench.synchronize()
        found["its part"] = bench.seconds(collector.part, 1, 0)

    found: dict[str, float] = {}
    found["read"] = bench.seconds(read, 3) - found["its part"]
    halves = activations.half()
    found["maxima alone"] = bench.seconds(lambda: halves.amax(1), 5)
    found["float16 alone"] = bench.seconds(lambda: activations.half(), 5)
    milliseconds = {name: round(value * 1e3, 2) for name, value in found.items()}
    bench.say("ms of one layer and 512 excerpts", **milliseconds)
