"""Does the device compute what the CPU does, from the same activations?"""

import numpy as np
import torch

from benchmarks.gpu.bench import TOKENS, Bench, digest, digest_of_part
from neurogloss.neurons.moments import moments_of
from neurogloss.neurons.records import IntArray
from neurogloss.neurons.sampling import neuron_keys
from neurogloss.neurons.selection import KeptExcerpts, RecordCounts, quantile_boundaries
from neurogloss.subject.ablation import ablate
from neurogloss.subject.layer_collector import LayerCollector, LayerPart, LayerPlan
from neurogloss.subject.lookup_tables import predictions, tables_without, top_of_tables
from neurogloss.subject.model import on_activations
from neurogloss.subject.sentences import sentence_activations
from neurogloss.subject.token_sums import TokenSums
from neurogloss.subject.weights import ResidualWeights, strongest_connections

_CPU = torch.device("cpu")


def readers(bench: Bench) -> None:
    """Compare records of activations full of ties, zeros of both signs, NaN and infinities."""
    n, width = (192, 64) if bench.small else (1024, 800)
    activations = _awkward(n, width)
    host = _read(activations, _CPU, 32)
    for batch in (32, 64, n):
        there = _read(activations, bench.device, batch)
        bench.say(
            "records of the device and of the CPU",
            batch=batch,
            same=[_records(a) == _records(b) for a, b in zip(host, there, strict=True)],
            moments_apart=max(_moments_apart(a, b) for a, b in zip(host, there, strict=True)),
        )
    lengths = torch.randint(1, TOKENS + 1, (n, 1), generator=torch.Generator().manual_seed(2))
    short = torch.arange(TOKENS) >= lengths
    there = _read(activations, bench.device, n, short)
    pairs = list(zip(_read(activations, _CPU, 32, short), there, strict=True))
    bench.say(
        "records of short excerpts",
        same=[_records(a) == _records(b) for a, b in pairs],
        moments_apart=max(_moments_apart(a, b) for a, b in pairs),
    )
    digests = {
        batch: digest_of_part(_read(activations, bench.device, batch)[1]) for batch in (32, 64, n)
    }
    bench.say("all bits, whatever the batch", same=len(set(digests.values())) == 1)
    bench.say("top records by brute force", same=_has_top_records(activations, host[1].kept, n))


def _awkward(n: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    found = (torch.randn(n, TOKENS, width, generator=generator) * 4).round() / 4
    found[found.abs() < 0.3] = -0.0
    found[3, 5, 7], found[40, 1, 9] = torch.nan, torch.inf
    found[:, :, 11], found[:, :, 12] = 0, -0.25
    return found


def _read(
    activations: torch.Tensor, device: torch.device, batch: int, short: torch.Tensor | None = None
) -> list[LayerPart]:
    """Read them as the reference of a corpus of twice as many excerpts, and again as the rest.

    `short`, bool (excerpt, position), marks the positions after the end of an excerpt.
    """
    n, width = len(activations), activations.shape[2]
    counts, neurons = RecordCounts(2 * n, 20, 20, 5), np.arange(width)
    parts: list[LayerPart] = []
    for first in (0, n):
        boundaries = quantile_boundaries(parts[0].maxima) if parts else None
        plan = LayerPlan(neurons, neuron_keys(0, 0, neurons), boundaries)
        collector = LayerCollector(plan, counts, range(first, first + n), TOKENS, device)
        for start in range(0, n, batch):
            part = slice(start, start + batch)
            padding = None if short is None else short[part, :, None].to(device)
            collector.read(activations[part].to(device), first + start, padding)
        parts.append(collector.part())
    return parts


def _records(part: LayerPart) -> str:
    return digest(part.kept.columns, part.kept.excerpts, part.kept.activations, part.nonfinite)


def _moments_apart(one: LayerPart, other: LayerPart) -> float:
    """Return the largest difference of the moments of two parts, each on its own scale."""
    (a, _), (b, _) = moments_of(one.blocks), moments_of(other.blocks)
    spread = np.sqrt(np.maximum(a.variance, 1e-12))
    mean = np.abs(a.mean - b.mean) / spread
    variance = np.abs(a.variance - b.variance) / spread**2
    shape = [np.abs(x - y) / (1 + np.abs(x)) for x, y in zip(a[2:], b[2:], strict=True)]
    return float(np.nanmax([mean, variance, *shape]))


def _has_top_records(activations: torch.Tensor, kept: KeptExcerpts, first: int) -> bool:
    rounded = activations.half()
    maxima = torch.where(rounded.isfinite(), rounded, 0).amax(1).float().numpy() + 0.0
    for column in range(0, maxima.shape[1], 7):
        best = np.lexsort((np.arange(len(maxima)), -maxima[:, column]))[:20] + first
        if not set(best) <= set(kept.excerpts[kept.columns == column]):
            return False
    return True


def token_sums(bench: Bench) -> None:
    """Compare sums by token with sums of the same activations on the CPU, and tables of both."""
    model = bench.model("gpt2", layers=2)
    n = 64 if bench.small else 512
    tokens, seen = bench.tokens(n), []
    sums = TokenSums(model, {0: range(4 * model.config.n_embd)})
    with on_activations(model, [0], lambda _, a: seen.append(a.half().double().cpu())):
        sums.add(tokens)
    expected = torch.zeros((bench.vocabulary, seen[0].shape[2]), dtype=torch.float64)
    flat = torch.from_numpy(tokens.astype(np.int64)).flatten()
    expected.index_add_(0, flat, torch.cat(seen)[:n].flatten(0, 1))
    neurons = np.arange(16)
    found, counts = sums.of_neurons(0, neurons)
    bench.say(
        "sums by token, of the device and of the CPU",
        same=bool((found.cpu() == expected[:, :16]).all()),
    )
    there, host = (_tables(v, c, tokens) for v, c in ((found, counts), (found.cpu(), counts.cpu())))
    bench.say("lookup tables and predictions", same=there == host)


def _tables(sums: torch.Tensor, counts: torch.Tensor, tokens: IntArray) -> str:
    own = torch.from_numpy(tokens[: sums.shape[1]].astype(np.int64)).to(sums.device)
    left_out = torch.full(own.shape, 0.5, dtype=torch.float64, device=sums.device)
    tables = tables_without(sums, counts, own, left_out)
    best = [row for row in top_of_tables(tables, 50)]
    return digest(*best, predictions(tables, own).cpu().numpy())


def weights(bench: Bench) -> None:
    """Compare connections by weight, and the activations on test sentences."""
    there, host = bench.model("gpt2", layers=2), bench.model("gpt2", layers=2, device=_CPU)
    host.load_state_dict({name: tensor.cpu() for name, tensor in there.state_dict().items()})
    found = []
    for model in (there, host):
        of_model = ResidualWeights(model)
        reads, candidates = of_model.input_directions(0), [(0, of_model.embedding())]
        found.append(strongest_connections(reads, candidates, 10))
    same = float((found[0].candidates == found[1].candidates).mean())
    apart = float(np.abs(found[0].weights - found[1].weights).max())
    bench.say("connections of the device and of the CPU", same_candidates=same, apart=apart)
    tokens = bench.tokens(2)
    sentences = [tokens[0], tokens[1][:9]]
    pairs = [sentence_activations(m, 1, sentences, [3, 4], TOKENS) for m in (there, host)]
    apart = max(float(np.abs(a - b).max()) for a, b in zip(*pairs, strict=True))
    bench.say("activations on sentences", apart=apart)


def ablation(bench: Bench) -> None:
    """Compare the divergences of an ablation."""
    there, host = bench.model("gpt2", layers=2), bench.model("gpt2", layers=2, device=_CPU)
    host.load_state_dict({name: tensor.cpu() for name, tensor in there.state_dict().items()})
    simulated = np.random.default_rng(0).random((4, TOKENS))
    for name, model in (("device", there), ("cpu", host)):
        found = ablate(model, 1, 5, bench.tokens(4), simulated, 0.1)
        bench.say("ablation", on=name, simulated=found.simulated, mean=found.mean)
