"""A text cut into pieces has the tokens of the whole, and may be larger than memory."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from neurogloss.errors import InputError
from neurogloss.subject.tokenizer import read_tokenizer
from orchestrator.corpus import pieces as limits
from orchestrator.corpus.pieces import cuts_between_words, pieces
from orchestrator.corpus.tokenised import tokenised

DEMO = read_tokenizer("demo")
WORDS = [
    "don't", "'s", "'re", "x'll", "'", "the", "A", "é", "naïve", "e\u0301", "字", "水。火", "Ⅷ",
    "½", "12", "3x4", "_a_", "--", "...", "(", ")", "a.b", "<|endoftext|>", "http://x.y/z?q=1",
    "\u200b", "\xa0", "\u3000", "\x1c", "\x85", " ", "  ", "\t", "\n", "\n\n", " \n ", "กำ",
    "١٢", "_", "²", "😀",
]  # fmt: skip
texts = st.lists(st.one_of(st.sampled_from(WORDS), st.characters(codec="utf-8")), max_size=60)


@settings(max_examples=300, deadline=None)
@given(words=texts, size=st.integers(1, 40), parts=st.integers(1, 7))
def test_pieces_have_the_tokens_of_the_whole(words, size, parts):
    text = "".join(words)
    length = max(1, len(text) // parts)
    in_parts = [text[start : start + length] for start in range(0, len(text), length)]
    cut = list(pieces("a", in_parts, size))
    assert "".join(cut) == text
    ids = [n for piece in cut for n in DEMO.encode(piece, add_special_tokens=False).ids]
    assert ids == DEMO.encode(text, add_special_tokens=False).ids


def test_prose_is_cut_into_pieces_of_about_the_size():
    sizes = [len(piece) for piece in pieces("a", ["some words, and more of them. "] * 500, 100)]
    assert max(sizes) <= 100
    assert min(sizes[:-1]) > 80


def test_long_and_short_documents_come_in_order_with_all_their_tokens():
    long = " ".join(f"On day {n} the boats of the river brought salt." for n in range(9000))
    documents = [("empty", ""), ("long", long), ("short", "a b"), ("in parts", iter(["a ", "b"]))]
    found: dict[str, list[int]] = {}
    ended = []
    for document, tokens, is_last in tokenised(documents, DEMO):
        found.setdefault(document, []).extend(tokens)
        ended += [document] if is_last else []
    assert ended == list(found) == ["empty", "long", "short", "in parts"]
    assert found["long"] == DEMO.encode(long).ids
    assert found["short"] == found["in parts"] == DEMO.encode("a b").ids


@pytest.fixture
def tokenizer():
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return made


def test_only_a_tokenizer_that_splits_as_gpt2s_lets_texts_be_cut(tokenizer):
    assert cuts_between_words(DEMO)
    assert cuts_between_words(tokenizer)
    tokenizer.normalizer = normalizers.Lowercase()
    assert not cuts_between_words(tokenizer)


@pytest.mark.parametrize(
    "splits",
    [
        pre_tokenizers.ByteLevel(add_prefix_space=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        pre_tokenizers.Whitespace(),
        pre_tokenizers.Metaspace(),
        None,
    ],
)
def test_other_ways_to_split_do_not_let_texts_be_cut(tokenizer, splits):
    if splits is None:
        tokenizer = Tokenizer(models.BPE())
    else:
        tokenizer.pre_tokenizer = splits
    assert not cuts_between_words(tokenizer)


@pytest.mark.parametrize(
    ("token", "can_cut"),
    [
        (AddedToken("[PAD]"), True),
        (AddedToken("<mask>", lstrip=True), True),
        (AddedToken("<mask>", rstrip=True), False),
        (AddedToken("foo", single_word=True), False),
        (AddedToken("two words"), False),
        (AddedToken("a1"), False),
    ],
)
def test_added_tokens_must_not_reach_over_a_cut(tokenizer, token, can_cut):
    tokenizer.add_tokens([token])
    assert cuts_between_words(tokenizer) == can_cut


def test_a_text_that_cannot_be_cut_is_refused(monkeypatch):
    with pytest.raises(InputError, match=r"a has 1,000,000 characters without a space"):
        list(tokenised([("a", iter(["x" * 600_000] * 2))], DEMO))
    other = Tokenizer(models.BPE())
    monkeypatch.setattr(limits, "MAX_WHOLE", 100)
    assert [part.is_last for part in tokenised([("a", "x" * 100)], other)] == [True]
    with pytest.raises(InputError, match=r"a has more than 100 characters.*GPT-2's kind"):
        list(tokenised([("a", iter(["x"] * 101))], other))


CUT = """
import re, sys
from pathlib import Path
from neurogloss.subject.tokenizer import read_tokenizer
from orchestrator.corpus.cut import cut_excerpts
from orchestrator.corpus.sources import documents
found = documents(sys.argv[1], 9)
cut = cut_excerpts(found, read_tokenizer("demo"), n_excerpts=300, n_tokens=64, seed=0)
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
print(cut.n_documents, cut.n_windows, int(peak) // 1024)
"""


# Where there is no /proc, the tokens are compared above; their memory is the same code's.
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_a_document_is_cut_in_little_memory(tmp_path):
    line = "On day {} the boats of the northern river brought salt, timber and news of the war.\n"
    text = "".join(line.format(n) for n in range(60_000))
    (tmp_path / "all.txt").write_text(text)  # 5 MB, which took a gigabyte
    command = [sys.executable, "-c", CUT, str(tmp_path / "all.txt")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    n_documents, n_windows, peak = map(int, done.stdout.split())
    assert n_documents == 1
    assert n_windows == len(DEMO.encode(text).ids) // 64
    assert peak < 300  # MiB
