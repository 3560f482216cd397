"""What tells one export from another, and where they differ."""

import gzip
import hashlib
import json
import re

import pyarrow.parquet as pq


def described_export(root, kind):
    """Return what is in each file of an export, by its path."""
    paths = {path.relative_to(root): path for path in sorted(root.rglob("*")) if path.is_file()}
    return {
        relative.as_posix(): _described(path, kind)
        for relative, path in paths.items()
        if ".export" not in relative.parts
    }


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
