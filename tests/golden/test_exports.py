"""Exports: the files of each format, with the content that they had."""

import pytest

from tests.golden.exported import described_export

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
    pinned.check(f"exports/{name}-{kind}.json", described_export(exports[name, kind], kind))
