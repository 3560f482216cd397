"""Lines of JSON that are too long for memory are read as the standard library would."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurogloss.errors import InputError
from orchestrator.corpus import text as limits
from orchestrator.corpus.long_json import text_of
from orchestrator.corpus.sources import documents

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(
    scalars, lambda below: st.lists(below) | st.dictionaries(st.text(), below), max_leaves=9
)


def in_parts(line, size):
    return [line[start : start + size] for start in range(0, len(line), size)]


@settings(max_examples=300, deadline=None)
@given(
    before=st.dictionaries(st.text(), values, max_size=4),
    text=st.text(alphabet=st.characters() | st.sampled_from('"\\/\n\b😀\ud83d'), max_size=40),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 1]),
    size=st.integers(1, 30),
)
def test_the_text_is_that_of_the_standard_library(before, text, ascii_only, indent, size):
    before.pop("text", None)
    line = json.dumps(before | {"text": text, "n": 1}, ensure_ascii=ascii_only, indent=indent)
    assert "".join(text_of(in_parts(line, size))) == json.loads(line)["text"]


@pytest.mark.parametrize(
    "line",
    [
        "", "{", "[]", "3", '{"text"', '{"text": 3}', '{"text": "x', '{"text": "\\x41"}',
        '{"text": "\\u12', '{"text": "\\u12g4 and more"}', '{"a" 1, "text": "x"}', '{"a": "b"',
        '{"text": ["x"]}', '{"text": "a\nb"}', '"text"', '{"a": [1, {"b": 2}], "c": }', "{text: 1}",
        '{"a": 1}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [1, 4, 100])
def test_what_holds_no_text_is_refused(line, size):
    with pytest.raises(ValueError, match=r"expected|ends|escape"):
        list(text_of(in_parts(line, size)))


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "LONG_LINE", 64)
    monkeypatch.setattr(limits, "PART", 16)

    def read(*lines):
        (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
        return [
            (name, text if isinstance(text, str) else "".join(text))
            for name, text in documents(str(tmp_path), 9)
        ]

    return read


def test_long_and_short_lines_take_turns(read):
    long = "Text, 😀 and more. " * 20
    lines = [json.dumps({"n": [1], "text": text, "x": "y" * 99}) for text in ("", long, "b")]
    lines.insert(1, json.dumps({"text": "short"}))
    expected = [("a.jsonl:1", ""), ("a.jsonl:2", "short"), ("a.jsonl:3", long), ("a.jsonl:4", "b")]
    assert read(*lines) == expected


def test_a_long_line_that_holds_no_text_is_named(read):
    fine = json.dumps({"text": "fine"})
    with pytest.raises(InputError, match=r'a\.jsonl, line 2: expected .* a string "text"'):
        read(fine, json.dumps({"body": "x" * 200}))
    with pytest.raises(InputError, match=r"a\.jsonl, line 2: the text holds \\ud83d, half"):
        read(fine, json.dumps({"text": "x" * 200 + "\ud83d."}))
