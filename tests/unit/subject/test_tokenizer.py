"""Tokenizers as training scripts leave them."""

import json
import logging
import shutil

import pytest

from neurogloss.errors import InputError
from neurogloss.subject.files import DEMO_FOLDER
from neurogloss.subject.tokenizer import read_tokenizer, tokenize, tokenizer_for

TRUNCATION = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
PADDING = {
    "strategy": {"Fixed": 128},
    "direction": "Right",
    "pad_to_multiple_of": None,
    "pad_id": 0,
    "pad_type_id": 0,
    "pad_token": "<|endoftext|>",
}
TEXTS = ["one", "The river runs to the sea, past the old mill and the fields. " * 9]


@pytest.fixture
def changed(tmp_path):
    """Make a copy of the demo's folder, with a changed tokenizer.json."""

    def change(**values):
        folder = shutil.copytree(DEMO_FOLDER, tmp_path / "model")
        path = folder / "tokenizer.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))
        return str(folder)

    return change


def with_token(token, number):
    added = json.loads((DEMO_FOLDER / "tokenizer.json").read_text())["added_tokens"]
    return [*added, {**added[0], "id": number, "content": token}]


@pytest.mark.parametrize(
    ("values", "settings"),
    [
        ({"truncation": TRUNCATION}, "truncation"),
        ({"padding": PADDING}, "padding"),
        ({"truncation": TRUNCATION, "padding": PADDING}, "truncation, padding"),
    ],
)
def test_texts_are_neither_cut_nor_filled_up(changed, caplog, values, settings):
    model = changed(**values)
    expected = [ids.tolist() for ids in tokenize(read_tokenizer("demo"), TEXTS, 1000)]
    assert [len(ids) for ids in expected] == [1, 190]
    for read in (read_tokenizer(model), tokenizer_for(model, 4096)):
        assert [ids.tolist() for ids in tokenize(read, TEXTS, 1000)] == expected
    [record] = caplog.records
    assert (record.levelno, record.settings) == (logging.WARNING, settings)


def test_a_text_has_the_same_tokens_every_time(changed):
    bpe = json.loads((DEMO_FOLDER / "tokenizer.json").read_text())["model"]
    dropping = read_tokenizer(changed(model=bpe | {"dropout": 0.9}))
    expected = read_tokenizer("demo").encode(TEXTS[1]).ids
    assert dropping.encode(TEXTS[1]).ids == expected


def test_a_token_without_a_row_is_named(changed):
    model = changed(added_tokens=with_token("[PAD]", 4096))
    reason = r"tokens without a row .* 4,096 rows: '\[PAD\]' \(number 4096\).*embeddings\(4097\)"
    with pytest.raises(InputError, match=reason):
        tokenizer_for(model, 4096)
    assert tokenizer_for(model, 4097).token_to_id("[PAD]") == 4096


def test_a_tokenizer_whose_tokens_cannot_be_shown_is_refused(changed):
    with pytest.raises(InputError, match=r'has no decoder.*"decoder": {"type": "ByteLevel"}'):
        tokenizer_for(changed(decoder=None), 4096)


def test_rows_without_a_token_are_padding(caplog):
    assert tokenizer_for("demo", 4224).get_vocab_size() == 4096
    assert caplog.records == []


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([], r"if the model's vocabulary is that of gpt2: .*from_pretrained\('gpt2'\)"),
        (
            ["vocab.json", "merges.txt"],
            r"This makes one: .*from_pretrained\('/.*model'\)\.save_pre",
        ),
    ],
)
def test_a_missing_tokenizer_can_be_made(changed, tmp_path, parts, reason):
    model = changed()
    (tmp_path / "model" / "tokenizer.json").unlink()
    for part in parts:
        (tmp_path / "model" / part).touch()
    with pytest.raises(InputError, match=rf"no tokenizer\.json in this folder\..*{reason}"):
        read_tokenizer(model)
