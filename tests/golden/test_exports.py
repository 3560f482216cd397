"""Exports: the files of each format, with the content that they had."""

import gzip
import hashlib
import json
import re

import pyarrow.parquet as pq
import pytest

EXPORTED = (
    ("json-1", "openai"),
    ("json-1", "neuronpedia"),
    ("json-1", "parquet"),
    ("json-3", "parquet"),
    ("echo-logprobs", "openai"),
    ("echo-logprobs", "neuronpedia"),
    ("echo-logprobs", "parquet"),
    ("found-out", "openai"),
    ("found-out", "parquet"),
    ("imported", "openai"),
)
"""Runs with candidates, calibrations and scorers; with log probabilities; with failures."""


@pytest.fixture(scope="module")
def exports(derived, tmp_path_factory):
    """All of them, in a folder each."""
    root = tmp_path_factory.mktemp("exports")
    folders = {(name, kind): root / f"{name}-{kind}" for name, kind in EXPORTED}
    started = [
        derived.start("export", name, "--format", kind, "--to", str(folder), "--processes", "1")
        for (name, kind), folder in folders.items()
    ]
    for process in started:
        code, output = derived.end(process)
        assert code == 0, output
    return folders


@pytest.mark.parametrize(("name", "kind"), EXPORTED)
def test_an_export_has_the_files_that_it_had(exports, pinned, name, kind):
    root = exports[name, kind]
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    found = {
        path.relative_to(root).as_posix(): _described(path, kind)
        for path in paths
        if ".export" not in path.relative_to(root).parts
    }
    pinned.check(f"exports/{name}-{kind}.json", found)


def _described(path, kind):
    """Return what tells a file from another, and where they differ.

    The bytes of Parquet and of gzip follow from the versions of their libraries: their content
    counts. So SHA256SUMS is left to its names in those formats.
    """
    content = path.read_bytes()
    if path.suffix == ".parquet":
        table = pq.read_table(path, partitioning=None)
        schema = {field.name: str(field.type) for field in table.schema}
        return {"schema": schema, "rows": table.num_rows, **_by_key(table.to_pylist())}
    if path.name == "SHA256SUMS" and kind != "openai":
        return [line.partition("  ")[2] for line in content.decode().splitlines()]
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    content = re.sub(rb'"createdAt":"[^"]*"', b'"createdAt":"a time"', content)  # of the export
    described = {"sha256": hashlib.sha256(content).hexdigest()}
    if path.suffix == ".md" or path.name == "SHA256SUMS":
        return described
    lines = [content] if path.suffix == ".json" else content.splitlines()
    return {**described, "rows": len(lines), **_by_key([json.loads(line) for line in lines])}


def _by_key(rows):
    """Return the keys of some objects in their order, with a hash of all values of each."""
    keys = {key: [row.get(key) for row in rows] for row in rows for key in row}
    return {"keys": [f"{key} {_hash(values)}" for key, values in keys.items()]}


def _hash(value):
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
