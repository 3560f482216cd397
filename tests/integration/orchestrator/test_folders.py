"""A run whose model and corpus are beside its file, worked on from other folders."""

import shutil

import pytest
from sqlalchemy import text

from neurogloss.config.toml import read_config
from neurogloss.subject.files import DEMO_FOLDER
from orchestrator.runs.create import create_or_resume
from orchestrator.runs.inputs import check_inputs
from tests.support.corpus import small_corpus
from tests.support.small_run import finish

FILE = """
name = "mine"
[subject]
model = "models/mine"
[corpus]
source = "texts"
excerpts = 96
excerpt_tokens = 16
[records]
top = 4
random = 4
[scoring]
top = 1
random = 1
[neurons]
layers = [0]
per_layer = 4
[explainer]
kind = "lookup"
[simulator]
kind = "lookup"
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A run file with a model and a corpus beside it; the process is in another folder."""
    folder = tmp_path / "runs"
    shutil.copytree(DEMO_FOLDER, folder / "models/mine")
    shutil.copytree(small_corpus(), folder / "texts")
    (folder / "mine.toml").write_text(FILE)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return folder / "mine.toml"


def begin(engine, file):
    config = read_config(file)
    return create_or_resume(engine, config, check_inputs(config, {}), lambda: None)


def stored(engine, column):
    with engine.begin() as connection:
        return connection.scalar(text(f"SELECT {column} FROM run"))  # noqa: S608


def test_workers_find_what_is_beside_the_file(engine, file):
    finish(engine, begin(engine, file))
    assert stored(engine, "(SELECT count(*) FROM score)") == 4
    assert stored(engine, "config #>> '{subject,model}'") == "models/mine"
    assert stored(engine, "folder") == str(file.parent)


def test_a_folder_that_moves_is_known_once_the_run_goes_on_from_there(engine, file):
    run_id = begin(engine, file)
    moved = file.parent.rename(file.parent.with_name("moved"))
    begin(engine, moved / "mine.toml")
    assert stored(engine, "folder") == str(moved)
    finish(engine, run_id)


def test_a_run_from_before_folders_were_known_starts_from_the_current_folder(
    engine, file, monkeypatch
):
    run_id = begin(engine, file)
    with engine.begin() as connection:
        connection.execute(text("UPDATE run SET folder = NULL"))
    monkeypatch.chdir(file.parent)
    begin(engine, file)
    assert stored(engine, "folder") is None
    finish(engine, run_id)
