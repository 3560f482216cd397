"""Sizes in a config.json: by which names, and which are refused."""

import pytest

from neurogloss.errors import InputError
from neurogloss.subject.shape import Shape, read_shape, shape_of

CONFIG = {"model_type": "gpt2", "n_layer": 2, "n_embd": 64, "n_head": 4, "vocab_size": 100}
GENERIC = {"n_layer": "num_hidden_layers", "n_embd": "hidden_size", "n_head": "num_attention_heads"}


def test_sizes_have_gpt2s_names_or_the_generic_ones():
    generic = {GENERIC.get(name, name): value for name, value in CONFIG.items()}
    more = {"max_position_embeddings": 32, "intermediate_size": 200}
    assert shape_of(CONFIG) == shape_of(generic) == Shape(2, 256, 1024, 100, width=64)
    assert shape_of(generic | more) == Shape(2, 200, 32, 100, width=64)


def test_what_a_config_leaves_out_is_as_in_transformers():
    assert shape_of({"model_type": "gpt2"}) == Shape(12, 3072, 1024, 50257, width=768)


def test_n_inner_may_be_null():
    assert shape_of(CONFIG | {"n_inner": None}).neurons_per_layer == 256


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"n_layer": 2.0}, r"n_layer = 2\.0 is not a whole number from 1 to 1,000"),
        ({"n_layer": "2"}, "n_layer = '2' is not a whole number"),
        ({"n_layer": True}, "n_layer = True is not"),
        ({"n_layer": None}, "n_layer = None is not"),
        ({"n_layer": 0}, "n_layer = 0 is not"),
        ({"n_layer": 2_000_000}, "n_layer = 2000000 is not a whole number from 1 to 1,000"),
        ({"num_hidden_layers": 3}, "n_layer = 2 and num_hidden_layers = 3 contradict"),
        ({"n_embd": -64}, "n_embd = -64 is not"),
        ({"n_embd": [64]}, r"n_embd = \[64\] is not"),
        ({"n_head": 5}, "n_embd = 64 is not divisible by n_head = 5"),
        ({"n_inner": 10**9}, "n_inner = 1000000000 is not"),
        ({"n_inner": 0}, "n_inner = 0 is not"),
        ({"vocab_size": 10**30}, "vocab_size = 1000000000000000000000000000000 is not"),
        ({"n_positions": 0.5}, r"n_positions = 0\.5 is not"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings = 'yes' is not true or false"),
        ({"add_cross_attention": True}, "add_cross_attention must be false"),
        ({"activation_function": "softmax"}, "activation_function = 'softmax' is none of gelu,"),
        ({"layer_norm_epsilon": "small"}, "layer_norm_epsilon = 'small' is not a number"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantized weights are not read"),
        ({"attn_implementation": "flash_attention_2"}, "'flash_attention_2': remove it"),
        ({"_attn_implementation": ["eager"]}, r"\['eager'\]: remove it"),
        ({"attn_pdrop": 2.0}, r"attn_pdrop = 2\.0 is not a number from 0 to 1"),
        ({"resid_pdrop": "x"}, "resid_pdrop = 'x' is not"),
        ({"model_type": "gpt_neo"}, "is not a GPT-2: config.json says model_type = 'gpt_neo'"),
        ({"model_type": {"a": "x" * 1000}}, r"model_type = .{80}\.\.\.$"),
    ],
)
def test_what_is_no_shape_is_refused(changes, reason):
    with pytest.raises(InputError, match=reason):
        shape_of(CONFIG | changes)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[" * 200_000, "nested too deep"),
        (b'{"model_type": "gpt2", "x": ' + b'{"x": ' * 200_000, "nested too deep|larger than"),
        (b" " * 1_000_001, "larger than 1,000,000 bytes"),
        (b"[]", "holds no object of JSON"),
        (b"{", "cannot be read as JSON"),
        (b'{"model_type": "gpt2", "n_layer": ' + b"9" * 5000 + b"}", "cannot be read as JSON"),
        (b"\xef\xbb\xbf{}", "cannot be read as JSON: Unexpected UTF-8 BOM"),
        ('{"model_type": "é"}'.encode("latin-1"), "cannot be read as JSON"),
    ],
)
def test_what_is_no_json_is_refused_in_one_line(tmp_path, data, reason):
    (tmp_path / "config.json").write_bytes(data)
    with pytest.raises(InputError, match=reason) as refused:
        read_shape(str(tmp_path))
    assert "config.json" in str(refused.value)
    assert "\n" not in str(refused.value)
