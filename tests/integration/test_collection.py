"""One pass in shards of any size, in any order, against all activations held in memory."""

import itertools

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2Model

from worker.gpu.collection import LayerPlan, collect
from worker.gpu.subject import forward, load_subject, on_activations
from worker.neurons.sampling import neuron_keys, priorities, random_excerpts
from worker.neurons.selection import (
    bucket_of,
    n_reference,
    quantile_boundaries,
    select_records,
)
from worker.neurons.statistics import moments

N, TOKENS, LAYERS, WIDTH = 300, 8, 2, 24
WANTED = {"n_top": 12, "n_random": 9, "per_bucket": 3}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=40, n_positions=16, n_embd=12, n_inner=WIDTH, n_layer=LAYERS, n_head=2,
        initializer_range=0.5, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return GPT2Model(config).eval()


@pytest.fixture(scope="module")
def tokens():
    found = np.random.default_rng(0).integers(0, 40, (N, TOKENS), dtype=np.int32)
    found[17] = found[250]  # equal maxima, so that ties have to be decided
    return found


@pytest.fixture(scope="module")
def everything(model, tokens):
    """All activations, float16 (layer, excerpt, token, neuron)."""
    found = [[] for _ in range(LAYERS)]
    with on_activations(model, [0, 1], lambda layer, a: found[layer].append(a.half())):
        for start, stop in itertools.pairwise([*range(0, N, 32), N]):
            forward(model, torch.from_numpy(tokens[start:stop].astype(np.int64)))
    return np.stack([torch.cat(part).numpy() for part in found])


def keys_of(layer):
    return neuron_keys(0, layer, np.arange(WIDTH))


def collected(model, tokens, shard_size, shuffle_seed, boundaries):
    """Return what is held for each (layer, neuron), by excerpt, and the sums."""
    held = {(layer, n): {} for layer in range(LAYERS) for n in range(WIDTH)}
    sums, worst = np.zeros((LAYERS, 4, WIDTH)), {}
    cut = n_reference(N)
    for first, last in ((0, cut), (cut, N)):
        starts = list(range(first, last, shard_size))
        np.random.default_rng(shuffle_seed).shuffle(starts)
        for start in starts:
            plans = {
                layer: LayerPlan(
                    neurons=np.arange(WIDTH),
                    keys=keys_of(layer),
                    boundaries=None if first == 0 else boundaries[layer],
                    worst_top=worst.get(layer),
                )
                for layer in range(LAYERS)
            }
            stop = min(start + shard_size, last)
            parts = collect(model, tokens[start:stop], start, plans, n_excerpts=N, **WANTED)
            for layer, part in parts.items():
                worst[layer] = part.top_keys.max(axis=1)
                sums[layer] += part.sums
                rows = zip(
                    part.kept_neurons, part.kept_excerpts, part.kept_activations, strict=True
                )
                for neuron, excerpt, activations in rows:
                    held[layer, int(neuron)][int(excerpt)] = activations
    return held, sums


@pytest.fixture(scope="module")
def boundaries(everything):
    return [quantile_boundaries(a[: n_reference(N)].max(axis=1)) for a in everything]


@pytest.mark.parametrize(
    ("shard_size", "seed"), [(N, 0), (64, 1), (50, 2), (7, 3)], ids=lambda value: str(value)
)
def test_records_equal_brute_force(model, tokens, everything, boundaries, shard_size, seed):
    held, sums = collected(model, tokens, shard_size, seed, boundaries)
    for layer in range(LAYERS):
        found = moments(sums[layer], N * TOKENS)
        flat = everything[layer].reshape(-1, WIDTH).astype(np.float64)
        assert found.mean == pytest.approx(flat.mean(axis=0), rel=1e-4, abs=1e-6)
        assert found.variance == pytest.approx(flat.var(axis=0), rel=1e-4)
        for neuron in range(WIDTH):
            chosen = select_records(
                held[layer, neuron],
                key=int(keys_of(layer)[neuron]),
                n_excerpts=N,
                boundaries=boundaries[layer][neuron],
                **WANTED,
            )
            expected = brute_force(everything[layer, :, :, neuron], layer, neuron, boundaries)
            assert [chosen.excerpts[row] for row in chosen.top] == expected["top"]
            assert [chosen.excerpts[row] for row in chosen.random] == expected["random"]
            members = [
                (bucket, chosen.excerpts[row])
                for bucket, row in zip(chosen.buckets, chosen.bucket_records, strict=True)
            ]
            assert members == expected["buckets"]
            assert np.allclose(
                chosen.activations, everything[layer, chosen.excerpts, :, neuron], atol=2e-3
            )


def brute_force(activations, layer, neuron, boundaries):
    """Choose a neuron's records from all its activations, (excerpt, token)."""
    maxima = activations.max(axis=1).astype(np.float32)
    key = keys_of(layer)[neuron : neuron + 1]
    outside = np.arange(n_reference(N), N)
    buckets = bucket_of(maxima[outside], boundaries[layer][neuron])
    drawn = priorities(key, outside[:, None])[:, 0]
    order = np.argsort(drawn, kind="stable")
    members = []
    for bucket in range(5):
        mine = [int(outside[i]) for i in order if buckets[i] == bucket]
        members += [(bucket, excerpt) for excerpt in mine[: WANTED["per_bucket"]]]
    return {
        "top": sorted(range(N), key=lambda e: (-maxima[e], e))[: WANTED["n_top"]],
        "random": random_excerpts(key, N, WANTED["n_random"])[0].tolist(),
        "buckets": members,
    }


def test_activations_are_those_after_gelu(model, tokens):
    found = []
    with on_activations(model, [0], lambda _, a: found.append(a)):
        forward(model, torch.from_numpy(tokens[:2].astype(np.int64)))
    hidden = model.wte.weight[tokens[:2]] + model.wpe.weight[:TOKENS]
    block = model.h[0]
    hidden = hidden + block.attn(block.ln_1(hidden))[0]
    expected = block.mlp.act(block.mlp.c_fc(block.ln_2(hidden)))
    assert torch.allclose(found[0], expected, atol=1e-5)


def test_hooks_are_gone_afterwards(model):
    with on_activations(model, [0, 1], lambda *_: None):
        pass
    assert not any(module._forward_hooks for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_neuron_that_overflows_is_marked(model, tokens):
    plan = LayerPlan(np.arange(WIDTH), keys_of(0), None)
    weight = model.h[0].mlp.c_fc.bias
    with torch.no_grad():
        before = weight[5].clone()
        weight[5] = 1e6
    try:
        part = collect(model, tokens[:32], 0, {0: plan}, n_excerpts=N, **WANTED)[0]
    finally:
        with torch.no_grad():
            weight[5] = before
    assert np.flatnonzero(part.nonfinite).tolist() == [5]
    assert np.isfinite(part.kept_activations).all()


def test_the_demo_subject_is_small_trained_and_safe():
    subject = load_subject("demo")
    folder = load_subject.__globals__["DEMO_FOLDER"]
    assert sum(file.stat().st_size for file in folder.iterdir()) < 5 << 20
    assert not list(folder.glob("*.bin"))
    assert subject.config.n_layer * subject.config.n_inner >= 2000
