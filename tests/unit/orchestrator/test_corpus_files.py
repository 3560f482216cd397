"""A file of text is text or is refused: encodings, broken characters, litter, and special files."""

import bz2
import gzip
import json
import lzma
import os
import socket

import pytest

from neurogloss.errors import InputError
from orchestrator.corpus.sources import documents

TEXT = "Naïve café, 20 °C: 😀\nAt the end."
BAD = b"caf\xe9\n"


def read(path):
    return [(name, "".join(text)) for name, text in documents(str(path), 10)]  # it may be in parts


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_a_byte_order_mark_says_the_encoding(tmp_path, encoding, line_break):
    text, line = (TEXT + "\n").replace("\n", line_break), json.dumps({"text": TEXT})
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    (tmp_path / "b.jsonl").write_bytes((f"{line}{line_break}" * 2).encode(encoding))
    expected = [("a.txt", TEXT + "\n"), ("b.jsonl:1", TEXT), ("b.jsonl:2", TEXT)]
    assert read(tmp_path) == expected


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_big_and_little_ends_are_told_apart(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes(("\ufeff" + TEXT).encode(encoding))
    assert read(tmp_path) == [("a.txt", TEXT)]


def test_files_with_marks_may_be_appended_to_one_another(tmp_path):
    line = b"\xef\xbb\xbf" + json.dumps({"text": "x"}).encode() + b"\n"
    (tmp_path / "a.jsonl").write_bytes(line * 2 + b"\xef\xbb\xbf")
    assert read(tmp_path) == [("a.jsonl:1", "x"), ("a.jsonl:2", "x")]


REFUSED = {
    "Windows-1252": (
        b"fine\nfine\n" + BAD * 3,
        r"line 3: the byte 0xe9 is not UTF-8: .*WINDOWS-1252.*; 3 such lines in all$",
    ),
    "a stray byte": (
        b"fine\r\n" * 300_000 + b"\xff\n" + b"fine\n" * 9,
        r"line 300001: the byte 0xff is not UTF-8: [^;]*; if it is Windows-1252, [^;]*$",
    ),
    "half a pair in UTF-8": (b"x\n\xed\xa0\xbd\n", "line 2: the byte 0xed is not UTF-8"),
    "cut off": ("é".encode()[:1], "line 1: the byte 0xc3 is not UTF-8"),
    "UTF-16 without a mark": ("text\n".encode("utf-16-le"), "line 1: there is a NUL, as in"),
    "binary": (b"text\n\x00\x01\x02", "line 2: there is a NUL"),
    "half a pair in UTF-16": (
        "a\n".encode("utf-16") + b"\x3d\xd8x\0",
        "line 2: the byte 0x3d begins no character of UTF-16",
    ),
    "UTF-16 cut off": ("a\nb".encode("utf-16")[:-1], "line 2: the byte 0x62 begins no character"),
}


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_text_is_refused_with_file_and_line(tmp_path, data, reason):
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(InputError, match=rf"a\.txt, {reason}"):
        read(tmp_path)


def test_lines_of_json_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "fine"}\n' + b'{"text": "caf\xe9"}\n' * 2)
    with pytest.raises(InputError, match=r"a\.jsonl, line 2: the byte 0xe9.*; 2 such lines"):
        read(tmp_path)


LINES = {
    "object over several lines": (
        '{\n "text": "x"\n}',
        r"in the next line: .*\(jq -c \.\)",
    ),
    "list over several lines": ('[\n {"text": "x"}\n]', r"next line: .*\(jq -c '\.\[\]'\)"),
    "list": ('[{"text": "x"}]', "this is a list: write its objects line by line"),
    "text": ('"x"', 'this is "x"'),
    "other field": ('{"id": 1, "content": "x"}', 'its fields are "id", "content": rename'),
    "no field": ("{}", "there are no fields"),
    "null": ('{"text": null}', '"text" is null, not a string: leave it out'),
    "parts": ('{"text": ["x"]}', r'not a string but \["x"\]'),
    "cut off": ('{"text": "x', "it is no JSON: Unterminated string.*character 10"),
    "comma": ('{"text": "x"},', "it is no JSON: Extra data"),
    "long number": ('{"id": ' + "9" * 9999 + ', "text": "x"}', "a number is too long"),
    "NUL": ('{"text": "a\\u0000b"}', r"the text holds \\u0000, a NUL"),
}


@pytest.mark.parametrize(("line", "reason"), LINES.values(), ids=LINES.keys())
def test_a_line_of_json_that_is_no_text_is_refused_with_what_would_be_right(tmp_path, line, reason):
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n' + line)
    with pytest.raises(InputError, match=rf"a\.jsonl, line 2: .*{reason}"):
        read(tmp_path)


OTHER_KINDS = {
    "gzip": (gzip.compress(b"text"), "compressed by gzip: run `gunzip`"),
    "bzip2": (bz2.compress(b"text"), "compressed by bzip2"),
    "xz": (lzma.compress(b"text"), "compressed by xz"),
    "zstd": (b"\x28\xb5\x2f\xfd\0", "compressed by zstd"),
    "zip": (b"PK\x03\x04\x14\0", "an archive, or an office document"),
    "PDF": (b"%PDF-1.4\n%\xe2\xe3", "a PDF"),
    "Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d",
        "a pointer of Git LFS, .*`git lfs pull`",
    ),
}


@pytest.mark.parametrize("ending", [".txt", ".jsonl", ".parquet"])
@pytest.mark.parametrize(("data", "reason"), OTHER_KINDS.values(), ids=OTHER_KINDS.keys())
def test_files_of_other_kinds_are_known_whatever_their_names(tmp_path, ending, data, reason):
    (tmp_path / f"a{ending}").write_bytes(data)
    with pytest.raises(InputError, match=rf"a\{ending} is {reason}"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["b.jsonl.gz", "B.TXT.BZ2", "b.txt.xz", "b.parquet.zst"])
def test_compressed_files_are_not_left_out_of_a_folder_silently(tmp_path, name):
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / name).write_bytes(b"")
    for source in (tmp_path, tmp_path / name):
        with pytest.raises(InputError, match=r"is compressed, which is not read: run `"):
            read(source)


def test_other_compressed_files_are_left_out(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "log.gz").write_bytes(b"")
    assert read(tmp_path) == [("a.txt", "text")]


def test_half_a_pair_in_json_is_named_with_its_line_and_the_other_lines_are_counted(tmp_path):
    lines = ['{"text": "fine \\ud83d\\ude00"}', '{"text": "so \\ud83d lala"}', "{", '{"text": 1}']
    (tmp_path / "a.jsonl").write_text("\n".join([*lines, lines[1], '{"text": "\\udc00"}']))
    reason = r"a\.jsonl, line 2: the text holds \\ud83d, half a surr.*; 3 such lines in all"
    with pytest.raises(InputError, match=reason):
        read(tmp_path)


def test_nested_json_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": ' + "[" * 200_000)
    with pytest.raises(InputError, match="line 1: expected a JSON object"):
        read(tmp_path)


def test_hidden_files_and_litter_are_left_out(tmp_path):
    litter = [
        ".hidden.txt", "._a.txt", "__MACOSX/a.txt", "__MACOSX/._b.txt", ".git/c.txt", "~$a.txt",
        ".ipynb_checkpoints/d.txt", "$RECYCLE.BIN/e.txt", "a.txt~", ".DS_Store", "Thumbs.db",
    ]  # fmt: skip
    for name in [*litter, "a.txt", "below/b.txt"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(
            b"text" if name.endswith("/b.txt") or name == "a.txt" else BAD
        )
    assert [name for name, _ in read(tmp_path)] == ["a.txt", "below/b.txt"]


def test_a_hidden_folder_that_is_asked_for_is_read(tmp_path):
    (tmp_path / ".corpus").mkdir()
    (tmp_path / ".corpus" / "a.txt").write_text("text")
    assert read(tmp_path / ".corpus") == [("a.txt", "text")]


def test_endings_may_be_in_capitals(tmp_path):
    (tmp_path / "A.TXT").write_text("one")
    (tmp_path / "B.JsonL").write_text('{"text": "two"}')
    assert read(tmp_path) == [("A.TXT", "one"), ("B.JsonL:1", "two")]
    assert read(tmp_path / "A.TXT") == [("A.TXT", "one")]
    with pytest.raises(InputError, match="no such file"):
        read("NOWHERE.TXT")


def test_names_need_not_be_utf8(tmp_path):
    file = tmp_path / os.fsdecode(b"caf\xe9") / os.fsdecode(b"\xff.txt")
    file.parent.mkdir()
    file.write_bytes(b"text")
    [(name, text)] = read(tmp_path)
    assert (name, text) == (r"caf\xe9/\xff.txt", "text")
    assert name.encode()  # so that it can be stored
    file.write_bytes(BAD)
    with pytest.raises(InputError, match=r"caf\\xe9/\\xff\.txt, line 1: the byte") as refused:
        read(tmp_path)
    assert str(refused.value).encode()


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


SPECIAL = {
    "pipe": (os.mkfifo, r"a\.txt is a named pipe, not a file"),
    "socket": (make_socket, r"a\.txt is a socket, not a file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), r"a\.txt is a device, not a file"),
    "folder": (lambda path: path.symlink_to("/"), None),
    "nowhere": (lambda path: path.symlink_to("gone"), r"a\.txt cannot be read: No such file"),
    "itself": (lambda path: path.symlink_to("a.txt"), r"a\.txt cannot be read: Too many"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("make", "reason"), SPECIAL.values(), ids=SPECIAL.keys())
def test_special_files_are_refused(tmp_path, monkeypatch, make, reason):
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    make(tmp_path / "a.txt") if make is not make_socket else make("a.txt")
    with pytest.raises(InputError, match=reason or r"contains no \.txt"):
        read(tmp_path)


@pytest.mark.timeout(20)
def test_a_pipe_that_is_the_corpus_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(InputError, match="is a named pipe"):
        read(tmp_path / "a.txt")


def test_a_name_that_is_too_long_is_refused(tmp_path):
    with pytest.raises(InputError, match="too long"):
        read(tmp_path / ("x" * 5000))
