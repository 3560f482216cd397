"""A small random subject model, tokens for it, and all of its activations."""

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from neurogloss.subject.model import forward, on_activations

TOKENS, WIDTH, LAYERS, VOCABULARY = 8, 24, 2, 40


def save_tiny(folder):
    """Save a small random model with a dead neuron, and one that overflows float16."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=16, n_embd=12, n_inner=WIDTH, n_layer=LAYERS, n_head=2,
        initializer_range=0.5, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        model.transformer.h[0].mlp.c_fc.bias[3] = -1e4
        model.transformer.h[1].mlp.c_fc.bias[5] = 1e6
        model.transformer.h[1].mlp.c_fc.bias[6] = 7.0  # always on
    model.save_pretrained(folder)


def make_tokens(n, vocabulary, length, seed):
    found = np.random.default_rng(seed).integers(0, vocabulary, (n, length), dtype=np.int32)
    found[n // 3] = found[-1]  # equal maxima, so that ties have to be decided
    return found


def activations_of(model, tokens):
    """All activations, float16 (layer, excerpt, token, neuron), by a plain loop over excerpts."""
    layers = list(range(model.config.n_layer))
    found = [[] for _ in layers]
    with on_activations(model, layers, lambda layer, a: found[layer].append(a.half().numpy())):
        for start in range(0, len(tokens), 32):
            forward(model, tokens[start : start + 32])
    return np.stack([np.concatenate(part) for part in found])
