"""Which files of a subject model are read: safetensors, and nothing that can run code."""

import pickle
import shutil
from pathlib import Path

import pytest

from neurogloss.errors import CannotCollect, InputError
from neurogloss.subject.files import DEMO_FOLDER
from neurogloss.subject.model import load_subject
from neurogloss.subject.shape import read_shape


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.fixture
def folder(tmp_path):
    """A model folder whose weights are only there as a pickle that runs code."""
    found = tmp_path / "model"
    ignored = shutil.ignore_patterns("*.safetensors")
    shutil.copytree(DEMO_FOLDER, found, ignore=ignored)
    (found / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "mark")))
    return found


def test_pickled_weights_are_refused_before_a_run_begins(folder, tmp_path):
    with pytest.raises(InputError, match=r"has no \.safetensors file; other formats are not read"):
        read_shape(str(folder))
    assert not (tmp_path / "mark").exists()


def test_pickled_weights_are_refused_by_a_worker(folder, tmp_path):
    with pytest.raises(CannotCollect, match=r"cannot be loaded: .*safetensors"):
        load_subject(str(folder))
    assert not (tmp_path / "mark").exists()


def test_pickled_weights_beside_safetensors_are_not_read(folder, tmp_path):
    shutil.copy(DEMO_FOLDER / "model.safetensors", folder)
    assert load_subject(str(folder)).config.n_layer == read_shape(str(folder)).n_layers
    assert not (tmp_path / "mark").exists()


def test_code_that_a_model_folder_brings_along_is_not_run(folder, tmp_path):
    shutil.copy(DEMO_FOLDER / "model.safetensors", folder)
    config = (folder / "config.json").read_text().rstrip().rstrip("}")
    auto = ', "auto_map": {"AutoConfig": "bomb.Config", "AutoModel": "bomb.Model"}}'
    (folder / "config.json").write_text(config + auto)
    (folder / "bomb.py").write_text(
        f"from pathlib import Path\nPath({str(tmp_path)!r}, 'mark').touch()\n"
    )
    load_subject(str(folder))
    assert not (tmp_path / "mark").exists()
