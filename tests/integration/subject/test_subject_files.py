"""Which files of a subject model are read: safetensors, and nothing that can run code."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

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
    with pytest.raises(CannotCollect, match=r"has no \.safetensors file"):
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


@pytest.fixture
def save_renamed(folder):
    """Save the demo's weights into the folder, under other names."""

    def save(rename):
        weights = load_file(DEMO_FOLDER / "model.safetensors")
        save_file({rename(name): w for name, w in weights.items()}, folder / "model.safetensors")
        return str(folder)

    return save


def test_an_embedding_under_the_name_of_the_output_matrix_is_loaded(save_renamed):
    model = save_renamed(lambda n: n.replace("transformer.wte.weight", "lm_head.weight"))
    assert torch.equal(load_subject(model).wte.weight, load_subject("demo").wte.weight)


def test_weights_under_other_names_are_refused_by_a_worker(save_renamed):
    model = save_renamed(lambda name: f"_orig_mod.{name}")
    with pytest.raises(CannotCollect, match=r"76 of 76 weights are missing.*Rename them"):
        load_subject(model)


def test_generic_names_of_sizes_are_those_of_the_loaded_model(save_renamed, folder):
    config = json.loads((folder / "config.json").read_text())
    for name, generic in {"n_layer": "num_hidden_layers", "n_inner": "intermediate_size"}.items():
        config[generic] = config.pop(name)
    (folder / "config.json").write_text(json.dumps(config))
    loaded = load_subject(save_renamed(str)).config
    assert (loaded.n_layer, loaded.n_inner) == (6, 512)
