"""Which device a worker takes, and what it says where there is none."""

import logging

import pytest
import torch

from neurogloss.config.run import SubjectConfig
from neurogloss.config.settings import DEVICE
from neurogloss.errors import CannotCollect
from neurogloss.subject.device import exact_device, find_device, name_of
from neurogloss.subject.files import DEMO_FOLDER
from neurogloss.subject.kernels import pinned_kernels
from neurogloss.subject.model import load_subject
from worker.stages.forward_pass import check_device


@pytest.fixture
def cuda(monkeypatch):
    """A process that has one CUDA device, as far as torch says."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)


@pytest.mark.parametrize("name", ["cuda", "mps", "gpu"])
def test_a_device_that_is_not_there_is_refused(monkeypatch, name):
    monkeypatch.setenv(DEVICE, name)
    with pytest.raises(CannotCollect, match=f"NEUROGLOSS_DEVICE = '?{name}"):
        check_device()
    with pytest.raises(CannotCollect, match="NEUROGLOSS_DEVICE"):
        load_subject(str(DEMO_FOLDER))


@pytest.mark.parametrize(
    ("name", "found"), [(None, "cuda"), ("", "cuda"), ("auto", "cuda"), ("cpu", "cpu")]
)
def test_the_fastest_device_is_taken_unless_another_is_named(cuda, monkeypatch, name, found):
    if name is None:
        monkeypatch.delenv(DEVICE, raising=False)
    else:
        monkeypatch.setenv(DEVICE, name)
    assert find_device().type == found


def test_a_worker_says_on_what_it_computes(caplog, monkeypatch):
    monkeypatch.setenv(DEVICE, "cpu")
    with caplog.at_level(logging.INFO, "worker.stages.forward_pass"):
        check_device()
    assert [record.device for record in caplog.records] == [name_of(torch.device("cpu"))]
    assert torch.__version__ in caplog.records[0].device


def test_a_worker_whose_cuda_fails_warns(caplog, monkeypatch):
    monkeypatch.delenv(DEVICE, raising=False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with caplog.at_level(logging.WARNING, "worker.stages.forward_pass"):
        check_device()
    assert [record.message for record in caplog.records] == ["no GPU used"]


def test_float64_is_computed_on_the_cpu_beside_mps():
    kinds = {kind: exact_device(torch.device(kind)).type for kind in ("cpu", "cuda", "mps")}
    assert kinds == {"cpu": "cpu", "cuda": "cuda", "mps": "cpu"}


class OnCuda:
    """What `pinned_kernels` asks a model, as one on CUDA would answer."""

    device = torch.device("cuda")

    def __init__(self, matmul):
        self.config = SubjectConfig(matmul=matmul)


@pytest.mark.parametrize(("matmul", "precision"), [("float32", "ieee"), ("tf32", "tf32")])
def test_the_precision_of_products_is_set_for_the_forward_pass_alone(matmul, precision):
    products = torch.backends.cuda.matmul
    before = products.fp32_precision
    with pytest.raises(ZeroDivisionError), pinned_kernels(OnCuda(matmul)):
        assert products.fp32_precision == precision
        raise ZeroDivisionError
    assert products.fp32_precision == before


def test_runs_without_the_key_keep_their_hash():
    assert "matmul" not in SubjectConfig().model_dump()
    assert SubjectConfig(matmul="tf32").model_dump()["matmul"] == "tf32"
