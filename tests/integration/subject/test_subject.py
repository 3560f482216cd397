"""The subject model computes what the stock one does, on whatever device there is."""

import numpy as np
import pytest
import torch
from transformers import GPT2Model
from transformers.activations import GELUTanh
from transformers.pytorch_utils import Conv1D

from neurogloss.config.settings import GPU_INDEX
from neurogloss.subject import onednn
from neurogloss.subject.device import find_device
from neurogloss.subject.files import DEMO_FOLDER
from neurogloss.subject.model import forward, load_subject, on_activations
from neurogloss.subject.onednn import OneDnnConv1D, packed_weights, without_onednn
from tests.support.tiny_subject import TOKENS, VOCABULARY, activations_of, make_tokens


def test_activations_are_those_after_gelu(model):
    tokens = make_tokens(12, VOCABULARY, TOKENS, 0)[:2]
    found = []
    with on_activations(model, [0], lambda _, a: found.append(a)):
        forward(model, tokens)
    hidden = model.wte.weight[tokens] + model.wpe.weight[:TOKENS]
    block = model.h[0]
    hidden = hidden + block.attn(block.ln_1(hidden))[0]
    expected = block.mlp.act(block.mlp.c_fc(block.ln_2(hidden)))
    assert torch.allclose(found[0], expected, atol=1e-5)


def test_the_fused_gelu_is_the_formula_of_the_stock_model():
    stock = GPT2Model.from_pretrained(DEMO_FOLDER, dtype=torch.float32).eval()
    assert stock.config.activation_function == "gelu_new"
    gelu = stock.h[0].mlp.act
    product = Conv1D(64, 64)
    product.weight.data = torch.eye(64)
    values = torch.linspace(-20, 20, 100_032).reshape(-1, 64)
    fused = OneDnnConv1D(product, gelu=True)
    assert torch.allclose(fused(values), gelu(values), rtol=2e-6, atol=2e-6)
    ends = torch.tensor([torch.inf, -torch.inf, torch.nan, 1e30, -1e30, *[0.0] * 59])
    product.weight.data, product.bias.data = torch.zeros(64, 64), ends
    found = OneDnnConv1D(product, gelu=True)(torch.zeros(1, 64))[0]
    assert torch.allclose(found, gelu(ends), equal_nan=True)
    tokens = make_tokens(32, 2000, 64, 0)
    found = [
        activations_of(model, tokens).astype(np.float32) for model in (stock, load_subject("demo"))
    ]
    assert np.allclose(*found, rtol=1e-3, atol=2e-3)  # a unit of float16, of values near 1
    assert (found[0] != found[1]).mean() < 0.01


def test_onednn_computes_the_products_of_the_stock_model():
    stock = GPT2Model.from_pretrained(DEMO_FOLDER, dtype=torch.float32).eval()
    ours = load_subject("demo")
    for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
        theirs, mine = (model.h[1].get_submodule(name) for model in (stock, ours))
        assert isinstance(mine, OneDnnConv1D)
        x = torch.randn(32, 64, theirs.nx, generator=torch.Generator().manual_seed(0))
        expected = stock.h[1].mlp.act(theirs(x)) if name == "mlp.c_fc" else theirs(x)
        assert torch.allclose(mine(x), expected, rtol=1e-5, atol=1e-5)


def test_modules_of_the_stock_model_are_back_where_derivatives_are_asked_for():
    stock = GPT2Model.from_pretrained(DEMO_FOLDER, dtype=torch.float32).eval()
    model = load_subject("demo")
    mine = dict(model.named_modules())
    with without_onednn(model):
        assert {type(m) for m in model.modules()} - {type(m) for m in stock.modules()} == {GELUTanh}
        assert model(torch.arange(9)[None])[0].isfinite().all()
    assert dict(model.named_modules()) == mine


def test_packed_weights_give_the_same_bits_and_are_gone_afterwards():
    model = load_subject("demo")
    tokens = make_tokens(64, 2000, 64, 0)
    before = activations_of(model, tokens)
    with packed_weights(model):
        assert any(m.packed is not None for m in model.modules() if isinstance(m, OneDnnConv1D))
        packed = activations_of(model, tokens)
    assert (before == packed).all()
    assert all(m.packed is None for m in model.modules() if isinstance(m, OneDnnConv1D))


def test_the_number_of_threads_changes_no_bit():
    model = load_subject("demo")
    tokens = make_tokens(64, 2000, 64, 0)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            found.append(activations_of(model, tokens))
    finally:
        torch.set_num_threads(before)
    assert all((found[0] == other).all() for other in found[1:])


def test_models_too_large_to_be_copied_are_read_as_they_are(monkeypatch):
    monkeypatch.setattr(onednn, "_MOST_COPIED", 1)
    model = load_subject("demo")
    with packed_weights(model):
        assert all(m.packed is None for m in model.modules() if isinstance(m, OneDnnConv1D))


def test_models_that_are_not_float32_keep_their_own_products():
    assert not any(isinstance(m, OneDnnConv1D) for m in load_subject("demo", "bfloat16").modules())


def test_hooks_are_gone_afterwards(model):
    with on_activations(model, [0, 1], lambda *_: None):
        pass
    assert not any(module._forward_hooks for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_gives_about_the_same_activations(dtype):
    tokens = make_tokens(32, 2000, 64, 0)
    exact = activations_of(load_subject("demo"), tokens).astype(np.float32)
    rough = activations_of(load_subject("demo", dtype), tokens).astype(np.float32)
    error = np.abs(exact - rough).mean() / exact.std()
    assert 0 < error < {"bfloat16": 0.02, "float16": 0.003}[dtype]


def test_several_workers_of_a_host_take_one_gpu_each(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    devices = []
    for index in ("0", "1", "2"):
        monkeypatch.setenv(GPU_INDEX, index)
        devices.append(find_device().index)
    assert devices == [0, 1, 0]


def test_the_demo_subject_is_small_trained_and_safe():
    model = load_subject("demo")
    assert sum(file.stat().st_size for file in DEMO_FOLDER.iterdir()) < 5 << 20
    assert not list(DEMO_FOLDER.glob("*.bin"))
    assert model.config.n_layer * model.config.n_inner >= 2000
