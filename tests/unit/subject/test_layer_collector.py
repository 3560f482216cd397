"""What is collected of one layer, from activations that are made up."""

import numpy as np
import pytest
import torch

from neurogloss.neurons.moments import moments_of
from neurogloss.neurons.sampling import neuron_keys
from neurogloss.neurons.selection import RecordCounts
from neurogloss.subject.device_sums import DeviceSums
from neurogloss.subject.fused_powers import load
from neurogloss.subject.layer_collector import LayerCollector, LayerPlan
from neurogloss.subject.tile_sums import HostSums

CPU, TOKENS, WIDTH = torch.device("cpu"), 6, 40


def activations(n, dtype=torch.float16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    found = torch.randn(n, TOKENS, WIDTH, generator=generator) * 3 + torch.arange(WIDTH) / 4
    found[n // 2, 3, 7], found[n - 1, 0, 9], found[1, 1, 3] = torch.nan, torch.inf, -torch.inf
    found[:, :, 11], found[:, :, 12] = 0, -0.25
    return found.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_model_goes_on_with_its_own_activations(dtype):
    neurons = np.arange(WIDTH)
    plan = LayerPlan(neurons, neuron_keys(0, 0, neurons), None)
    collector = LayerCollector(plan, RecordCounts(64, 5, 5, 1), range(64), TOKENS, CPU)
    own = activations(64, dtype)
    before = own.clone()
    collector.read(own, 0)
    assert bool(((own == before) | (own.isnan() & before.isnan())).all())
    assert sorted(np.flatnonzero(collector.part().nonfinite)) == [3, 7, 9]


def summed(kind, found, first, within, padding, batch):
    sums = kind(WIDTH, within, CPU)
    for start in range(0, len(found), batch):
        part = slice(start, start + batch)
        sums.add(found[part].clone(), first + start, None if padding is None else padding[part])
    return sums


@pytest.mark.parametrize("is_padded", [False, True], ids=["whole", "short"])
@pytest.mark.parametrize(
    ("first", "n", "within"),
    [(0, 512, (0, 512)), (96, 300, (110, 396)), (32, 20, (32, 52)), (64, 64, (70, 90))],
)
def test_a_device_adds_the_sums_of_the_cpu(first, n, within, is_padded):
    found, padding = activations(n), None
    if is_padded:
        lengths = torch.randint(1, TOKENS + 1, (n, 1), generator=torch.Generator().manual_seed(1))
        padding = (torch.arange(TOKENS) >= lengths)[:, :, None]
        found.masked_fill_(padding, 0)
    host, device, cut = (
        summed(kind, found, first, range(*within), padding, batch)
        for kind, batch in ((HostSums, 512), (DeviceSums, 512), (DeviceSums, 64))
    )
    assert [(b.first, b.n_tiles, b.n_tokens) for b in host.blocks] == [
        (b.first, b.n_tiles, b.n_tokens) for b in device.blocks
    ]
    assert np.array_equal(host.nonfinite, device.nonfinite)
    for one, other, third in zip(host.blocks, device.blocks, cut.blocks, strict=True):
        assert np.allclose(one.sums, other.sums, rtol=1e-6, atol=1e-5)
        assert np.allclose(other.sums, third.sums, rtol=1e-12, atol=1e-12)


def test_moments_of_a_device_are_those_of_all_activations():
    found = activations(96)
    device = summed(DeviceSums, found, 0, range(96), None, 64)
    values = torch.nan_to_num(found, 0, 0, 0).double().flatten(0, 1).numpy()
    moments, n_tokens = moments_of(device.blocks)
    assert n_tokens == len(values)
    assert np.allclose(moments.mean, values.mean(0), rtol=1e-6, atol=1e-6)
    assert np.allclose(moments.variance, values.var(0), rtol=1e-6)


# On other devices torch does it, which the tests above check; benchmarks/gpu compares the two.
@pytest.mark.skipif(not torch.cuda.is_available(), reason="the kernel runs on CUDA alone")
def test_the_kernel_computes_what_torch_does():
    found = activations(96)
    lengths = torch.randint(1, TOKENS + 1, (96,), generator=torch.Generator().manual_seed(1))
    found.masked_fill_((torch.arange(TOKENS) >= lengths[:, None])[:, :, None], 0)
    shifts = torch.zeros(3, WIDTH)
    exact = torch.nan_to_num(found, 0, 0, 0).double()
    expected = torch.stack([(exact**power).sum(1) for power in (1, 2, 3, 4)])
    fused = load(torch.device("cuda", 0))
    assert fused is not None
    kept, of_shifts, stops = (x.cuda() for x in (found, shifts, lengths.int()))
    sums, nonfinite = fused(kept, of_shifts, stops)
    assert torch.allclose(sums.cpu().double(), expected, rtol=1e-5, atol=1e-4)
    assert nonfinite.nonzero().flatten().tolist() == [3, 7, 9]
    assert torch.equal(kept.cpu(), exact.half())


def test_without_cuda_there_is_no_kernel():
    assert load(CPU) is None


def test_infinities_and_nan_become_zero_where_they_are():
    found = activations(64)
    HostSums(WIDTH, range(64), CPU).add(host := found.clone(), 0, None)
    DeviceSums(WIDTH, range(64), CPU).add(device := found.clone(), 0, None)
    assert torch.equal(host, torch.nan_to_num(found, 0, 0, 0))
    assert torch.equal(device, host)
