import json
import re

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet
from tokenizers import Tokenizer, models, pre_tokenizers

from neurogloss.errors import InputError
from orchestrator.corpus import python_docs
from orchestrator.corpus.cut import cut_excerpts
from orchestrator.corpus.sources import documents


@pytest.fixture(scope="module")
def letters():
    """A tokenizer with a token for every letter."""
    vocabulary = {letter: n for n, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
    tokenizer = Tokenizer(models.WordLevel({**vocabulary, "?": 26}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return tokenizer


def cut(documents, tokenizer, n_excerpts=4, seed=0):
    return cut_excerpts(documents, tokenizer, n_excerpts=n_excerpts, n_tokens=4, seed=seed)


DOCUMENTS = [("one", "abcdefghij"), ("two", "klm"), ("three", "nopqrstuvwxyz")]


def test_excerpts_are_contiguous_and_of_one_document(letters):
    texts = dict(DOCUMENTS)
    for excerpt in cut(DOCUMENTS, letters).excerpts:
        ids = np.frombuffer(excerpt.tokens, np.int32)
        read = "".join("abcdefghijklmnopqrstuvwxyz"[n] for n in ids)
        assert texts[excerpt.document][excerpt.position : excerpt.position + 4] == read


def test_short_documents_are_counted_and_dropped(letters):
    found = cut(DOCUMENTS, letters)
    assert (found.n_documents, found.n_documents_too_short, found.n_windows) == (3, 1, 5)


def read(found):
    """Return the excerpts of each document, in order, as text."""
    texts = {}
    for excerpt in sorted(found.excerpts, key=lambda e: e.position):
        ids = np.frombuffer(excerpt.tokens, np.int32)
        letters = "".join("abcdefghijklmnopqrstuvwxyz|"[n] for n in ids)
        texts.setdefault(excerpt.document, []).append(letters)
    return texts


def cut_all(letters, n_excerpts, **wanted):
    documents = [*DOCUMENTS, ("nothing", "")]
    return cut_excerpts(documents, letters, n_excerpts=n_excerpts, n_tokens=4, seed=0, **wanted)


def test_a_short_document_is_kept_as_an_excerpt_of_its_own(letters):
    found = cut_all(letters, 6, keep_short=True)
    assert read(found)["two"] == ["klm"]
    assert read(found)["one"] == ["abcd", "efgh"]
    assert (found.n_documents, found.n_documents_too_short, found.n_windows) == (4, 1, 6)


def test_a_document_begins_with_the_token_that_is_put_first(letters):
    found = cut_all(letters, 6, begin=26)
    assert read(found) == {
        "one": ["|abc", "defg"], "two": ["|klm"], "three": ["|nop", "qrst", "uvwx"],
    }  # fmt: skip
    both = cut_all(letters, 6, begin=26, keep_short=True)
    assert read(both) == read(found)
    long = cut_excerpts(DOCUMENTS, letters, n_excerpts=5, n_tokens=5, seed=0, keep_short=True, begin=26)  # fmt: skip  # noqa: E501
    assert read(long)["two"] == ["|klm"]


def test_without_these_wishes_excerpts_are_as_before(letters):
    assert cut_all(letters, 5).digest == cut(DOCUMENTS, letters, 5).digest


def test_the_choice_is_seeded(letters):
    long = [("long", "abcdefgh" * 40)]
    assert cut(long, letters).digest == cut(long, letters).digest
    assert cut(long, letters).digest != cut(long, letters, seed=1).digest


def test_the_first_excerpts_are_a_random_sample(letters):
    found = cut([("long", "abcdefgh" * 400)], letters, n_excerpts=800)
    positions = [excerpt.position for excerpt in found.excerpts]
    assert positions != sorted(positions)
    assert 1200 < np.mean(positions[:400]) < 2000


def test_too_small_a_corpus_says_how_many_excerpts_it_holds(letters):
    with pytest.raises(InputError, match="contain 5 excerpts of 4 tokens"):
        cut(DOCUMENTS, letters, n_excerpts=6)


def test_an_empty_corpus_is_refused(letters):
    with pytest.raises(InputError, match="contains no document"):
        cut([], letters)


def test_text_and_jsonl_files_are_read(tmp_path):
    (tmp_path / "b.txt").write_text("plain")
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n\n{"text": "two"}\n')
    (tmp_path / "c.bin").write_text("not this")
    expected = [("a.jsonl:1", "one"), ("a.jsonl:3", "two"), ("b.txt", "plain")]
    assert list(documents(str(tmp_path), 10)) == expected


@pytest.mark.parametrize("line", ["{", "[]", '{"body": "x"}', '{"text": 3}', "3", "[" * 200_000])
def test_a_line_that_holds_no_text_is_named(tmp_path, line):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "fine"}) + "\n" + line + "\n")
    with pytest.raises(InputError, match="line 2"):
        list(documents(str(path), 10))


def test_parquet_files_are_read_in_order(tmp_path):
    texts = [f"document {n}" for n in range(600)]
    parquet.write_table(pyarrow.table({"id": range(600), "text": texts}), tmp_path / "a.parquet")
    found = list(documents(str(tmp_path), 10))
    assert found == [(f"a.parquet:{n}", text) for n, text in enumerate(texts, start=1)]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"body": ["x"]}, 'column "text"; its columns are "body": rename'),
        ({"text": ["x", None]}, "row 2: .* is null"),
        ({"text": [b"x"]}, "row 1: .*not a string but"),
        ({"text": ["x", "\0"]}, "row 2: .*a NUL"),
    ],
)
def test_a_parquet_file_that_holds_no_text_is_refused(tmp_path, columns, reason):
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=reason):
        list(documents(str(tmp_path / "a.parquet"), 10))


def test_a_broken_parquet_file_is_refused(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(InputError, match="cannot be read as parquet"):
        list(documents(str(tmp_path), 10))


def test_a_folder_without_text_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no \.txt, \.jsonl or \.parquet"):
        documents(str(tmp_path), 10)


def test_a_missing_file_is_refused():
    with pytest.raises(InputError, match="no such file"):
        documents("./nowhere.jsonl", 10)


@pytest.fixture(scope="module")
def python_documents():
    return list(python_docs.documents())


def test_python_docs_are_the_same_every_time(python_documents):
    assert python_documents == list(python_docs.documents())


def test_python_docs_have_unique_ids_and_a_megabyte_of_text(python_documents):
    assert len({name for name, _ in python_documents}) == len(python_documents)
    assert sum(len(text) for _, text in python_documents) > 1_000_000


def test_python_docs_hold_topics_and_docstrings_and_no_addresses(python_documents):
    names = {name.split(":")[0] for name, _ in python_documents}
    assert names == {"topics", "docstring", "builtin"}
    assert not any(re.search(r"0x7[0-9a-f]{8}", text) for _, text in python_documents)
