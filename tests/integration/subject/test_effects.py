"""Effects on the logit of the next token, in float64, on models whose answers are known."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from neurogloss.subject.effects import NeuronValues, TextReader
from neurogloss.subject.files import DEMO_FOLDER
from neurogloss.subject.model import load_subject
from neurogloss.subject.tokenizer import read_tokenizer, tokenize
from neurogloss.subject.unembedding import load_unembedding
from tests.support.planted_subject import save_planted
from tests.support.tiny_subject import LAYERS, VOCABULARY, WIDTH

TOKENS = np.array([3, 17, 5, 29, 11, 8])
LAST = len(TOKENS) - 1
TEXT = "The following is a list of the modules in the standard"


def reader_of(folder, *, exact=True):
    subject = load_subject(folder)
    unembedding = load_unembedding(folder, subject)
    if exact:
        subject, unembedding = torch.nn.Module.double(subject), unembedding.double()
    return TextReader(subject, unembedding)


@pytest.fixture(scope="module")
def untied(tmp_path_factory):
    """A model whose unembedding is not its token embedding, with biases and gains at random."""
    folder = tmp_path_factory.mktemp("untied")
    torch.manual_seed(1)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=16, n_embd=12, n_inner=WIDTH, n_layer=LAYERS, n_head=2,
        initializer_range=0.5, tie_word_embeddings=False, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.5)
    model.save_pretrained(folder)
    return str(folder)


def magnitude(direct):
    """The sum of the absolute values of all direct effects."""
    by_layer = (direct.neurons, direct.heads, direct.attention_biases, direct.mlp_biases)
    single = (direct.token, direct.position, direct.final_bias)
    return sum(float(part.abs().sum()) for part in by_layer) + sum(map(abs, single))


@pytest.mark.parametrize("model", ["demo", "planted", "untied"])
@pytest.mark.parametrize("versus", [None, 4])
def test_direct_effects_add_up_to_the_logit_difference(model, versus, request):
    folder = model if model == "demo" else request.getfixturevalue(model)
    found = reader_of(folder).read(TOKENS, target=9, versus=versus)
    against = found.logits.mean() if versus is None else found.logits[versus]
    assert found.logit_difference == pytest.approx(float(found.logits[9] - against), abs=1e-9)
    assert found.direct.sum() == pytest.approx(
        found.logit_difference, abs=1e-10 * magnitude(found.direct)
    )


def test_in_the_precision_of_workers_the_sum_is_as_good(untied):
    for folder in ("demo", untied):
        found = reader_of(folder, exact=False).read(TOKENS)
        assert found.direct.sum() == pytest.approx(
            found.logit_difference, abs=1e-5 * magnitude(found.direct)
        )


def test_logits_are_those_of_the_model_with_its_own_head(untied):
    whole = GPT2LMHeadModel.from_pretrained(untied).double()
    with torch.no_grad():
        expected = whole(torch.from_numpy(TOKENS)[None]).logits[0, -1]
    found = reader_of(untied).read(TOKENS)
    torch.testing.assert_close(found.logits, expected)
    assert found.target == int(expected.argmax())
    assert found.probability(found.target) == pytest.approx(float(expected.softmax(0).max()))


class LinearNorm(torch.nn.Module):
    """A layer norm whose standard deviation is held at 2, whatever it is."""

    def __init__(self, norm):
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x):
        return (x - x.mean(-1, keepdim=True)) / 2 * self.weight + self.bias


def places(reader, found, some, positions, baseline=0.0):
    """Return a set that holds some neurons of the last layer at the baseline, one at a time."""
    layer = len(found.activations) - 1
    return [
        NeuronValues([layer], [neuron], [position], [baseline])
        for neuron in some
        for position in positions
    ]


@pytest.mark.parametrize("baseline", [0.0, 0.3])
def test_the_estimated_effect_is_the_true_one_where_the_read_out_is_linear(untied, baseline):
    subject = torch.nn.Module.double(load_subject(untied))
    subject.ln_f = LinearNorm(subject.ln_f)
    reader = TextReader(subject, load_unembedding(untied, load_subject(untied)).double())
    found = reader.read(TOKENS, target=9, versus=4)
    estimated = found.estimated(LAYERS - 1, torch.tensor(baseline, dtype=torch.float64))
    every = range(WIDTH)
    for position, expected in ((LAST, estimated[LAST]), (None, estimated.sum(dim=0))):
        ablated = reader.ablated(TOKENS, found, places(reader, found, every, [position], baseline))
        true = found.logit_difference - np.array(ablated.logit_differences)
        np.testing.assert_allclose(expected.numpy(), true, rtol=1e-9, atol=1e-10)


def test_estimates_approach_true_effects_as_the_baseline_approaches_the_activation(untied):
    reader = reader_of(untied)
    found = reader.read(TOKENS, target=9, versus=4)
    errors = []
    for step in (1e-2, 1e-3):
        for layer, neuron, position in ((0, 3, 1), (0, 20, LAST), (1, 7, LAST)):
            at = float(found.activations[layer][position, neuron]) - step
            values = NeuronValues([layer], [neuron], [position], [at])
            ablated = reader.ablated(TOKENS, found, [values])
            true = found.logit_difference - ablated.logit_differences[0]
            estimated = found.estimated(layer, torch.tensor(at, dtype=torch.float64))[
                position, neuron
            ]
            errors.append(abs(float(estimated) - true))
    coarse, fine = errors[:3], errors[3:]
    assert max(fine) > 0
    # The error of a first-order estimate falls with the square of the step.
    assert all(small < large / 30 for small, large in zip(fine, coarse, strict=True))


def test_a_neuron_that_alone_causes_a_token_comes_first(tmp_path):
    save_planted(tmp_path)
    reader = reader_of(str(tmp_path))
    cause, caused = int(TOKENS[-1]), 33
    output = reader.model.get_parameter("h.0.mlp.c_proj.weight")
    with torch.no_grad():
        output.zero_()
        output[cause, caused] = 100.0
    found = reader.read(TOKENS)
    assert found.target == caused
    assert found.probability(caused) > 0.9
    estimated = found.estimated(0, torch.tensor(0.0))
    assert int(found.direct.neurons[0].argmax()) == int(estimated.sum(dim=0).argmax()) == cause
    assert float(found.direct.neurons[0, cause]) > 0.9 * magnitude(found.direct)
    ablated = reader.ablated(TOKENS, found, places(reader, found, range(40), [None]))
    assert int(np.argmin(ablated.probabilities)) == cause
    assert ablated.probabilities[cause] < 0.1
    others = np.delete(ablated.probabilities, cause)
    assert others.min() > 0.9


def test_on_the_demo_model_the_top_ten_do_more_than_any_of_a_thousand_random_tens():
    reader = reader_of("demo", exact=False)
    (tokens,) = tokenize(read_tokenizer("demo"), [TEXT], 128)
    found = reader.read(tokens)
    layers, width = len(found.activations), found.activations[0].shape[1]
    totals = torch.cat([found.estimated(n, torch.tensor(0.0)).sum(dim=0) for n in range(layers)])
    chance = np.random.default_rng(0)
    tens = [totals.argsort(descending=True)[:10].numpy()]
    tens += [chance.choice(layers * width, 10, replace=False) for _ in range(1000)]
    sets = [NeuronValues(*np.divmod(ten, width), [None] * 10, [0.0] * 10) for ten in tens]
    ablated = reader.ablated(tokens, found, sets, at_once=128)
    of_top, *of_random = ablated.logits
    assert of_top < min(of_random) < float(found.logits[found.target])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_model_stored_in_half_precision_is_computed_in_float32(tmp_path, dtype):
    folder = tmp_path / "halves"
    shutil.copytree(DEMO_FOLDER, folder)
    weights = load_file(folder / "model.safetensors")
    halves = {name: tensor.to(getattr(torch, dtype)) for name, tensor in weights.items()}
    save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})
    found = reader_of(str(folder), exact=False).read(TOKENS)
    assert found.activations[0].dtype == torch.float32
    assert found.direct.sum() == pytest.approx(
        found.logit_difference, abs=1e-5 * magnitude(found.direct)
    )


def test_reading_leaves_the_model_as_it_was():
    subject = load_subject("demo")
    reader = TextReader(subject, load_unembedding("demo", subject))
    before = {name: type(module) for name, module in subject.named_modules()}
    found = reader.read(TOKENS)
    reader.ablated(TOKENS, found, [NeuronValues([0], [1], [None], [0.0])])
    assert {name: type(module) for name, module in subject.named_modules()} == before
    hooks = [m._forward_hooks or m._forward_pre_hooks for m in subject.modules()]
    assert not any(hooks)
