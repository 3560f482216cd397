"""Published datasets, imported and exported again, have what they had: every field of every file.

`NEUROGLOSS_DATASETS=FOLDER` adds all datasets in OpenAI's format that lie below a folder.
"""

import os
from pathlib import Path

import pytest

from tests.support.dataset_changes import dataset_changes, values_of
from tests.support.mixed_dataset import write_mixed
from tests.support.openai_dataset import differences, export_openai, import_folder

RECORDS = "collated-activations"
MIXED = "mixed"


def published():
    """Return the names of all datasets: one of the tests', and those of the folder."""
    folder = os.environ.get("NEUROGLOSS_DATASETS")
    given = Path(folder).rglob(RECORDS) if folder else ()
    return [MIXED, *sorted(str(path.parent) for path in given)]


@pytest.fixture
def dataset(request, tmp_path):
    if request.param != MIXED:
        return Path(request.param)
    write_mixed(tmp_path / MIXED)
    return tmp_path / MIXED


@pytest.mark.parametrize("dataset", published(), indirect=True)
def test_a_published_dataset_is_read_back_equal(engine, dataset, tmp_path):
    before = values_of(dataset)
    run_id = import_folder(engine, dataset, "first", subject="gpt2-xl", related=True)
    assert differences(engine, "first") == []
    files = export_openai(engine, run_id, tmp_path / "out")
    assert [path for path in before if path.startswith(RECORDS)]
    assert list(dataset_changes(before, files)) == []
    again = import_folder(engine, tmp_path / "out", "again")
    assert export_openai(engine, again, tmp_path / "third") == files


def test_a_change_of_any_field_is_found(tmp_path):
    before = write_mixed(tmp_path)
    del before["explanations/0/1.jsonl"]  # it has two explanations, and a first one is kept
    after = {path: (tmp_path / path).read_bytes() for path in before}
    assert list(dataset_changes(before, after)) == []
    record = before["collated-activations/0/2.json"]["most_positive_activation_records"][0]
    record["activations"][1] = None
    before["explanations/0/0.jsonl"]["scored_explanations"][0]["explanation"] += "."
    before["collated-activations/0/0.json"]["random_sample"].pop()
    assert len(list(dataset_changes(before, after))) == 3
