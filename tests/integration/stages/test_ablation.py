"""Ablation: against a GPT-2 in plain numpy, and in a run from its configuration to its view."""

import json
import math

import numpy as np
import pytest
import torch
from sqlalchemy import text
from transformers import GPT2Model

from neurogloss.config.run import RunConfig
from neurogloss.errors import InputError
from neurogloss.subject.ablation import ablate, divergences
from neurogloss.subject.shape import read_shape
from orchestrator.runs.create import create_or_resume
from orchestrator.runs.inputs import check_inputs, check_model
from orchestrator.runs.plan import make_plan
from orchestrator.verify.verify import find_differences
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.small_run import finish, run_config
from tests.support.tiny_subject import (
    LAYERS,
    TOKENS,
    VOCABULARY,
    WIDTH,
    activations_of,
    make_tokens,
)

N_HEADS = 2


def outputs(model, tokens, layer=None, neuron=None, values=None):
    """Distributions over the next token, float64 (excerpt, token, vocabulary), in plain numpy."""
    weights = {name: value.numpy().astype(np.float64) for name, value in model.state_dict().items()}
    found = []
    for row, ids in enumerate(tokens):
        x = weights["wte.weight"][ids] + weights["wpe.weight"][: len(ids)]
        for number in range(LAYERS):
            w = {
                k.removeprefix(f"h.{number}."): v
                for k, v in weights.items()
                if k.startswith(f"h.{number}.")
            }
            x = x + attention(normed(x, w, "ln_1"), w)
            hidden = gelu(normed(x, w, "ln_2") @ w["mlp.c_fc.weight"] + w["mlp.c_fc.bias"])
            if number == layer:
                hidden[:, neuron] = values[row]
            x = x + hidden @ w["mlp.c_proj.weight"] + w["mlp.c_proj.bias"]
        found.append(softmax(normed(x, weights, "ln_f") @ weights["wte.weight"].T))
    return np.stack(found)


def normed(x, weights, name):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def attention(x, w):
    parts = np.split(x @ w["attn.c_attn.weight"] + w["attn.c_attn.bias"], 3, axis=-1)
    q, k, v = (np.stack(np.split(part, N_HEADS, axis=-1)) for part in parts)
    scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
    scores[:, np.triu(np.ones(scores.shape[1:], dtype=bool), 1)] = -np.inf
    return (
        np.concatenate(softmax(scores) @ v, axis=-1) @ w["attn.c_proj.weight"]
        + w["attn.c_proj.bias"]
    )


def gelu(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def softmax(x):
    raised = np.exp(x - x.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def mean_divergence(p, q):
    p, q = p.astype(np.longdouble), q.astype(np.longdouble)
    m = (p + q) / 2
    return float(((p * np.log(p / m) + q * np.log(q / m)).sum(-1) / 2).mean())


@pytest.mark.parametrize("layer", range(LAYERS))
@pytest.mark.parametrize("neuron", [0, 9, WIDTH - 1])
def test_divergences_are_those_of_plain_numpy(tiny, layer, neuron):
    exact = GPT2Model.from_pretrained(tiny, dtype=torch.float64).eval()
    exact.requires_grad_(False).h[1].mlp.c_fc.bias[5] = 0.0  # it would drown all others
    tokens = make_tokens(6, VOCABULARY, TOKENS, 3)
    values = np.random.default_rng(neuron).normal(0.5, 1, tokens.shape)
    found = ablate(exact, layer, neuron, tokens, values, 0.25)
    before = outputs(exact, tokens)
    simulated = outputs(exact, tokens, layer, neuron, values)
    mean = outputs(exact, tokens, layer, neuron, np.full(tokens.shape, 0.25))
    expected = mean_divergence(before, simulated), mean_divergence(before, mean)
    assert min(expected) > 1e-6
    assert (found.simulated, found.mean) == pytest.approx(expected, rel=1e-9)
    assert found.score == 1 - found.simulated / found.mean


def test_texts_of_different_lengths_are_compared_on_their_own_tokens(tiny):
    exact = GPT2Model.from_pretrained(tiny, dtype=torch.float64).eval()
    exact.requires_grad_(False).h[1].mlp.c_fc.bias[5] = 0.0
    lengths = (TOKENS, 3, 1, 5, TOKENS, 2)
    tokens = [
        row[:n] for row, n in zip(make_tokens(6, VOCABULARY, TOKENS, 3), lengths, strict=True)
    ]
    random = np.random.default_rng(5)
    values = [random.normal(0.5, 1, n) for n in lengths]
    found = ablate(exact, 0, 9, tokens, values, 0.25)
    before, simulated, mean = (
        np.concatenate([outputs(exact, [ids], *replaced)[0] for ids, *replaced in texts])
        for texts in (
            [(ids,) for ids in tokens],
            [(ids, 0, 9, [of_text]) for ids, of_text in zip(tokens, values, strict=True)],
            [(ids, 0, 9, [np.full(len(ids), 0.25)]) for ids in tokens],
        )
    )
    expected = mean_divergence(before, simulated), mean_divergence(before, mean)
    assert (found.simulated, found.mean) == pytest.approx(expected, rel=1e-9)


def test_a_perfect_simulation_scores_one_and_the_mean_zero(model):
    tokens = make_tokens(6, VOCABULARY, TOKENS, 3)
    exact = []
    handle = model.h[1].mlp.act.register_forward_hook(lambda *a: exact.append(a[2][..., 4].clone()))
    with torch.inference_mode():
        model(input_ids=torch.from_numpy(tokens).long(), use_cache=False)
    handle.remove()
    assert ablate(model, 1, 4, tokens, exact[0].numpy(), 0.1).score == 1.0
    assert ablate(model, 1, 4, tokens, np.full(tokens.shape, 0.1), 0.1).score == 0.0


def test_a_neuron_whose_mean_is_all_it_does_has_no_score(model):
    tokens = make_tokens(6, VOCABULARY, TOKENS, 3)
    found = ablate(model, 0, 3, tokens, np.ones(tokens.shape), 0.0)  # it is dead
    assert (found.mean, found.score) == (0.0, None)
    assert found.simulated > 0


def test_the_model_is_as_it_was_afterwards(model):
    tokens = make_tokens(6, VOCABULARY, TOKENS, 3)
    before = activations_of(model, tokens)
    ablate(model, 1, 2, tokens, np.ones(tokens.shape), 0.0)
    assert (activations_of(model, tokens) == before).all()


def test_equal_distributions_do_not_diverge_and_disjoint_ones_by_ln_2():
    p = torch.tensor([[0.1, 0.2, 0.7], [1.0, 0.0, 0.0]], dtype=torch.float64)
    assert divergences(p, p).tolist() == [0.0, 0.0]
    assert divergences(p[1:], p[1:].flip(-1)).item() == pytest.approx(math.log(2))


def ablating(base_url, **changes):
    values = run_config(base_url).model_dump(mode="json")
    values["scoring"] |= {"calibration": ["linear"]}
    values["ablation"] = {"per_layer": 3, "neurons": []}
    return RunConfig.model_validate(values | changes)


def test_a_run_ablates_as_many_neurons_of_each_layer_as_it_says(engine, services, monkeypatch):
    monkeypatch.setenv("REDIS_URL", services.redis_url)
    with RehearsalServer(RehearsalOptions()) as server:
        config = ablating(server.base_url)
        run_id = create_or_resume(engine, config, check_inputs(config, {}), lambda: None)
        finish(engine, run_id)
    with engine.begin() as connection:
        progress = connection.execute(
            text("SELECT total, done, failed FROM run_progress WHERE stage = 'ablate'")
        ).one()
        assert tuple(progress) == (6, 6, 0)
        rows = connection.execute(text("SELECT * FROM ablation")).mappings().all()
        assert len(rows) == 6
        for row in rows:
            assert (row["score"] is None) == (row["undefined_reason"] is not None)
            if row["score"] is not None:
                assert row["score"] <= 1
                assert 0 < row["divergence_mean"] < math.log(2)
        assert any(row["score"] is not None for row in rows)
        n = "SELECT sum(n + undefined) FROM ablation_summary WHERE run = 'whole'"
        assert connection.scalar(text(n)) == 6
        run = connection.execute(text("SELECT * FROM run")).mappings().one()
    assert list(find_differences(engine, run.id, lambda *_: None)) == []
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM ablation WHERE layer = 0"))
    missing = [str(found) for found in find_differences(engine, run.id, lambda *_: None)]
    assert len(missing) == 3
    assert all("was to be ablated" in found for found in missing)


def test_a_subject_with_an_output_matrix_of_its_own_is_refused(tmp_path):
    values = {"model_type": "gpt2", "n_layer": 1, "n_embd": 8, "n_head": 2, "vocab_size": 9}
    (tmp_path / "config.json").write_text(json.dumps(values | {"tie_word_embeddings": False}))
    (tmp_path / "model.safetensors").touch()
    config = ablating("http://127.0.0.1:9/v1", subject={"model": str(tmp_path)})
    with pytest.raises(InputError, match="an output matrix separate from its embeddings"):
        check_model(config)


def test_a_neuron_that_is_not_in_the_run_is_refused(engine):
    config = ablating("http://127.0.0.1:9/v1", ablation={"neurons": [[1, 0]], "per_layer": 0})
    with pytest.raises(InputError, match=r"ablation.neurons has \[1, 0\]"):
        make_plan(config, read_shape("demo"))
