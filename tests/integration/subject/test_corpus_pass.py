"""Batches that go through the model at the same time: the same bits, and an end where one fails."""

import threading

import numpy as np
import pytest
import torch

from neurogloss.neurons.sampling import neuron_keys
from neurogloss.neurons.selection import RecordCounts
from neurogloss.subject.batches import batches_for
from neurogloss.subject.collection import collect
from neurogloss.subject.corpus_pass import read_batches
from neurogloss.subject.layer_collector import LayerPlan
from neurogloss.subject.model import load_subject, mlp_width
from neurogloss.subject.token_sums import TokenSums
from tests.support.tiny_subject import make_tokens

N, LENGTH, LAYERS = 300, 64, (0, 1)  # the last tile is shorter than the others
COUNTS = RecordCounts(N, top=5, random=4, per_bucket=3)


@pytest.fixture
def cores():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model():
    return load_subject("demo")


@pytest.fixture(scope="module")
def tokens():
    return make_tokens(N, 2000, LENGTH, 0)


LENGTHS = np.random.default_rng(1).integers(1, LENGTH + 1, N).astype(np.int32)


def plans_of(model, boundaries):
    neurons = np.arange(mlp_width(model))
    bounds = np.tile(np.float32(boundaries), (len(neurons), 1)) if boundaries else None
    return {layer: LayerPlan(neurons, neuron_keys(0, layer, neurons), bounds) for layer in LAYERS}


def collected(model, tokens, lengths, boundaries):
    """Return the arrays of all parts, in order."""
    plans = plans_of(model, boundaries)
    parts = collect(model, tokens, 0, range(N), plans, COUNTS, lengths=lengths)
    return [
        values
        for _, part in parts
        for values in (
            part.kept.columns,
            part.kept.excerpts,
            part.kept.activations,
            part.nonfinite,
            np.zeros(0) if part.maxima is None else part.maxima,
            *(block.sums for block in part.blocks),
        )
    ]


@pytest.mark.parametrize("boundaries", [None, (0.1, 0.5, 1.0, 2.0)], ids=["reference", "rest"])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "short"])
def test_parts_have_the_same_bits_for_any_number_of_threads(
    model, tokens, lengths, boundaries, cores
):
    found = []
    for number in (1, 2, 4):
        cores(number)
        found.append(collected(model, tokens, lengths, boundaries))
    assert len(found[0]) > 10
    for other in found[1:]:
        for mine, theirs in zip(found[0], other, strict=True):
            assert mine.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "short"])
def test_sums_by_token_have_the_same_bits_for_any_number_of_threads(model, tokens, lengths, cores):
    neurons = np.arange(mlp_width(model))
    found = []
    for number in (1, 2, 4):
        cores(number)
        sums = TokenSums(model, dict.fromkeys(LAYERS, neurons.tolist()))
        sums.add(tokens, lengths)
        found.append([sums.of_neurons(layer, neurons) for layer in LAYERS])
    for other in found[1:]:
        for (mine, counts), (theirs, their_counts) in zip(found[0], other, strict=True):
            assert torch.equal(mine, theirs)
            assert torch.equal(counts, their_counts)


def test_batches_are_at_work_at_the_same_time(model, tokens, cores):
    cores(2)
    together = threading.Barrier(2, timeout=20)
    read_batches(
        model,
        [0],
        list(batches_for(model, tokens[:128], 0)),
        lambda *_: together.wait() and None,
        lambda: None,
    )
    assert not together.broken


@pytest.mark.parametrize("number", [1, 2])
def test_each_layer_is_told_of_and_an_error_ends_the_pass(number, model, tokens, cores):
    cores(number)
    batches = list(batches_for(model, tokens, 0))
    seen, told = [], []

    def keep(batch, layer, activations):
        assert activations.shape == (len(batch.tokens), LENGTH, mlp_width(model))
        seen.append((batch.first, layer))

    def stop():
        told.append(len(seen))
        if len(told) >= 2:
            raise KeyError("ended")

    read_batches(model, LAYERS, batches, keep, lambda: told.append(1))
    assert len(told) == len(batches) * len(LAYERS)
    told.clear()
    assert sorted(seen) == [(batch.first, layer) for batch in batches for layer in LAYERS]
    seen.clear()
    with pytest.raises(KeyError, match="ended"):
        read_batches(model, LAYERS, batches, keep, stop)
    assert 2 <= len(told) < len(batches) * len(LAYERS)
    assert len(seen) < len(batches) * len(LAYERS)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("number", [1, 2])
def test_what_fails_in_a_batch_ends_the_pass(number, model, tokens, cores):
    cores(number)

    def keep(batch, layer, activations):
        if batch.first == 64:
            raise torch.OutOfMemoryError("full")

    with pytest.raises(torch.OutOfMemoryError, match="full"):
        read_batches(model, [0], list(batches_for(model, tokens, 0)), keep, lambda: None)
