"""Readers of model folders and of texts, on files of any content: a value, or one message."""

import json
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from neurogloss.errors import InputError
from neurogloss.subject.checkpoint import check_tensors
from neurogloss.subject.safetensors_header import stored_tensors
from neurogloss.subject.shape import Shape, read_shape, shape_of
from orchestrator.corpus.sources import documents

LONGEST_MESSAGE = 1500  # characters
SIZES = (
    "n_layer", "n_embd", "n_head", "n_inner", "intermediate_size", "hidden_size", "n_positions",
    "num_hidden_layers", "num_attention_heads", "max_position_embeddings", "vocab_size",
    "tie_word_embeddings", "activation_function", "layer_norm_epsilon", "add_cross_attention",
)  # fmt: skip
NAMES = ("wte.weight", "transformer.wte.weight", "h.0.ln_1.bias", "_orig_mod.x", "__metadata__")
SMALL = Shape(n_layers=1, neurons_per_layer=4, n_positions=4, vocab_size=4, width=4)

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 70), st.integers(), st.floats(), st.text(max_size=5)
)
values = st.recursive(
    scalars,
    lambda below: (
        st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=4), below, max_size=3)
    ),
    max_leaves=6,
)
offsets = st.lists(st.integers(-2, 9), min_size=2, max_size=2)
tensors = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "I8"]) | values,
        "shape": st.lists(st.integers(-2, 9), max_size=3) | values,
        "data_offsets": offsets | values,
    }
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("any")


@given(config=st.dictionaries(st.sampled_from(SIZES), values))
def test_any_sizes_are_a_shape_or_a_message(config):
    try:
        shape = shape_of({"model_type": "gpt2"} | config)
    except InputError as error:
        assert len(str(error)) < LONGEST_MESSAGE
        return
    assert min(shape.n_layers, shape.neurons_per_layer, shape.n_positions, shape.vocab_size) > 0


@given(data=st.binary(max_size=60))
@example(data=b"[" * 200_000)
@example(data=b'{"a":' * 200_000)
def test_any_config_file_is_refused_in_one_line(folder, data):
    (folder / "config.json").write_bytes(data)
    with pytest.raises(InputError) as refused:
        read_shape(str(folder))
    assert len(str(refused.value).splitlines()) == 1


@given(
    header=st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=6), tensors | values) | values,
    tail=st.binary(max_size=20),
    wrong_by=st.integers(-3, 3),
)
def test_any_header_is_refused(folder, header, tail, wrong_by):
    written = json.dumps(header).encode()
    length = max(0, len(written) + wrong_by).to_bytes(8, "little")
    (folder / "model.safetensors").write_bytes(length + written + tail)
    with pytest.raises(InputError) as refused:
        check_tensors(stored_tensors(folder), SMALL)
    assert len(str(refused.value)) < LONGEST_MESSAGE


@given(data=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-16")))
def test_any_bytes_are_text_or_are_refused(folder, data):
    (folder / "a.txt").write_bytes(data)
    try:
        [(_, text)] = documents(str(folder / "a.txt"), 9)
    except InputError as error:
        assert "a.txt, line " in str(error) or "a.txt is " in str(error)
        return
    if data.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        text.encode()  # no half of a pair is left
    else:
        assert text == data.decode().replace("\r\n", "\n").replace("\r", "\n")


@given(lines=st.lists(values | st.fixed_dictionaries({"text": values}), max_size=4))
def test_any_lines_of_json_hold_texts_or_are_refused(folder, lines):
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with suppress(InputError):
        found = [text for _, text in documents(str(folder / "a.jsonl"), 9)]
        assert found == [line["text"] for line in lines]
        "".join(found).encode()  # no half of a pair is left
