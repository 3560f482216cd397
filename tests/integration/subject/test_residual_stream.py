"""Passes that go on in the middle: the same bits, and no layer twice but the one between."""

from contextlib import closing

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2Model

from neurogloss.subject import residual_stream
from neurogloss.subject.residual_stream import ResidualStream
from neurogloss.subject.token_sums import TokenSums

LAYERS, VOCABULARY, TOKENS = 5, 40, 8
GROUPS = (range(2), range(2, 4), range(4, 5))


@pytest.fixture
def model():
    torch.manual_seed(0)
    size = {"n_embd": 12, "n_inner": 24, "n_layer": LAYERS, "n_head": 2, "n_positions": TOKENS}
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    config = GPT2Config(vocab_size=VOCABULARY, initializer_range=0.5, **size, **ends)
    return GPT2Model(config).eval().requires_grad_(False)


@pytest.fixture
def tokens():
    return np.random.default_rng(0).integers(0, VOCABULARY, (96, TOKENS), dtype=np.int32)


@pytest.fixture
def stream():
    with closing(ResidualStream()) as stream:
        yield stream


def neurons_of(layers):
    return {layer: list(range(24)) for layer in layers}


def sums_of(model, tokens, layers, stream):
    sums = TokenSums(model, neurons_of(layers))
    with stream.passing(model, "corpus", tokens.size, layers):
        for first in range(0, len(tokens), 32):
            sums.add(tokens[first : first + 32], first=first)
    return {layer: sums.of_neurons(layer, np.arange(24))[0].numpy() for layer in layers}


def whole(model, tokens):
    sums = TokenSums(model, neurons_of(range(LAYERS)))
    for first in range(0, len(tokens), 32):
        sums.add(tokens[first : first + 32], first=first)
    return {layer: sums.of_neurons(layer, np.arange(24))[0].numpy() for layer in range(LAYERS)}


def check_equal(found, expected):
    for layer, sums in found.items():
        assert np.array_equal(sums, expected[layer]), layer


def layers_run(model, read):
    """Return the layers that ran, in order, while `read` was called."""
    seen = []
    handles = [
        block.ln_1.register_forward_pre_hook(lambda *_, layer=layer: seen.append(layer))
        for layer, block in enumerate(model.h)
    ]
    read()
    for handle in handles:
        handle.remove()
    return sorted(set(seen))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_groups_of_layers_give_the_bits_of_one_pass(model, tokens, stream, dtype):
    model = model.to(dtype)
    expected = whole(model, tokens)
    for layers in GROUPS:
        check_equal(sums_of(model, tokens, layers, stream), expected)


def test_a_pass_begins_at_the_last_layer_of_the_one_before(model, tokens, stream):
    ran = [
        layers_run(model, lambda layers=layers: sums_of(model, tokens, layers, stream))
        for layers in GROUPS
    ]
    assert ran == [[0, 1], [1, 2, 3], [3, 4]]


def test_layers_may_be_left_out_between_two_passes_and_gone_back_to(model, tokens, stream):
    expected = whole(model, tokens)
    for layers in (range(1), range(3, 4), range(1, 2), range(2, 4)):
        check_equal(sums_of(model, tokens, layers, stream), expected)


def test_a_pass_that_was_interrupted_leaves_nothing_to_go_on_from(model, tokens, stream):
    expected = whole(model, tokens)
    sums_of(model, tokens, range(2), stream)
    with (
        pytest.raises(KeyboardInterrupt),
        stream.passing(model, "corpus", tokens.size, range(2, 4)),
    ):
        TokenSums(model, neurons_of(range(2, 4))).add(tokens[:32])
        raise KeyboardInterrupt
    check_equal(sums_of(model, tokens, range(2, 4), stream), expected)


def test_without_room_on_the_disk_every_pass_begins_at_layer_0(model, tokens, stream, monkeypatch):
    monkeypatch.setattr(residual_stream, "_file_for", lambda n_bytes: None)
    expected = whole(model, tokens)
    for layers in GROUPS:
        check_equal(sums_of(model, tokens, layers, stream), expected)


@pytest.mark.parametrize("asked", [[3, 4, 5], [3], [4, 9], [3, 17]], ids=str)
def test_sums_are_those_of_the_neurons_that_are_asked_for(model, tokens, asked):
    every, some = (TokenSums(model, {1: n}) for n in (list(range(24)), [3, 4, 5, 9, 17]))
    for sums in (every, some):
        sums.add(tokens)
    found, counts = some.of_neurons(1, np.array(asked))
    expected, of_all = every.of_neurons(1, np.arange(24))
    assert torch.equal(found, expected[:, asked])
    assert torch.equal(counts, of_all)
    assert counts.sum() == tokens.size
