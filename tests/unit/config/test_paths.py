"""Relative paths in a run file start from the folder of the file."""

import pytest

from neurogloss.config.paths import SectionOfFile
from neurogloss.config.run import RunConfig
from neurogloss.config.toml import read_config

FILE = (
    'name = "mine"\n[subject]\nmodel = "{model}"\n[corpus]\nsource = "{source}"\n'
    '[explainer]\nkind = "lookup"\n[simulator]\nkind = "lookup"\n'
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "runs/models/mine").mkdir(parents=True)
    (tmp_path / "runs/texts").mkdir()
    (tmp_path / "runs/demo").mkdir()
    return tmp_path / "runs"


def written(folder, **values):
    path = folder / "run.toml"
    path.write_text(FILE.format(**values))
    return path


def test_what_is_beside_the_file_is_found_from_anywhere(folder, tmp_path, monkeypatch):
    path = written(folder, model="models/mine", source="./texts")
    monkeypatch.chdir(folder)
    for given in (path, path.relative_to(folder)):
        config = read_config(given)
        monkeypatch.chdir(tmp_path)
        assert config.located(config.subject.model) == str(folder / "models/mine")
        assert config.located(config.corpus.source) == str(folder / "texts")
        monkeypatch.chdir(folder)


def test_the_configuration_keeps_what_is_written_and_the_hash_of_it(folder, tmp_path):
    config = read_config(written(folder, model="models/mine", source="texts"))
    elsewhere = RunConfig.model_validate(config.model_dump(mode="json"))
    assert config.subject.model == "models/mine"
    assert config.model_dump(mode="json")["corpus"]["source"] == "texts"
    assert elsewhere.digest() == config.digest()
    assert elsewhere.located(elsewhere.subject.model) == "models/mine"
    assert elsewhere.read_in(folder).located(config.subject.model) == str(folder / "models/mine")


@pytest.mark.parametrize(
    "value", ["gpt2", "Skylion007/openwebtext", "/srv/model", "a\0b", "x" * 999]
)
def test_what_is_not_beside_the_file_stays_as_it_is_written(folder, value):
    assert SectionOfFile().read_in(folder).located(value) == value


def test_names_of_what_is_shipped_are_no_folders(folder):
    assert SectionOfFile().read_in(folder).located("demo") == "demo"
