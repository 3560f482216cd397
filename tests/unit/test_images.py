"""What images contain: the api image has none of the extras, and a lack of one is named."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.cli.extras import advice, extra_for
from orchestrator.cli.main import cli
from orchestrator.cli.version import COMMIT, torch_line

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "optional-dependencies"
]
OF_EXTRAS = [
    "datasets", "fastapi", "huggingface_hub", "jinja2", "matplotlib", "mcp", "prometheus_client",
    "pyarrow", "python_multipart", "safetensors", "starlette", "tokenizers", "torch",
    "transformers", "uvicorn",
]  # fmt: skip
OF_API_WORKERS = [
    "worker.tasks", "worker.process", "worker.text_queue", "worker.stages.batches",
    "orchestrator.cli.actions.worker", "orchestrator.cli.actions.migrate",
    "orchestrator.cli.actions.rehearsal_server",
    "worker.stages.explain", "worker.stages.choose", "worker.stages.illustrate",
    "worker.stages.revise", "worker.stages.simulate", "worker.stages.score",
]  # fmt: skip
WITHOUT = """
import importlib, sys
absent, modules = sys.argv[1].split(","), sys.argv[2].split(",")
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""


def without_extras(script, modules=()):
    """Run a script in a process that finds no package of an extra."""
    command = [sys.executable, "-c", WITHOUT + script, ",".join(OF_EXTRAS), ",".join(modules)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_api_workers_need_no_package_of_an_extra():
    done = without_extras("for name in modules: importlib.import_module(name)", OF_API_WORKERS)
    assert done.returncode == 0, done.stderr


def test_a_command_whose_extra_is_absent_names_it_in_one_message():
    script = 'from orchestrator.cli.main import main; main(["report"])'
    done = without_extras(script)
    assert done.returncode == 2
    assert done.stderr.startswith("neurogloss: the package ")
    assert "pip install '.[web]'" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("module", OF_EXTRAS)
def test_the_extra_that_a_message_names_brings_the_package(module):
    extra = extra_for(f"{module}.part")
    brought = [row.partition(">")[0].partition("=")[0] for row in EXTRAS[extra]]
    brings_it_along = {"starlette": "fastapi"}.get(module, module)
    assert brings_it_along.replace("_", "-") in [name.replace("_", "-") for name in brought]
    assert f"'.[{extra}]'" in advice(module, extra)


def test_a_module_of_ours_that_is_absent_is_no_extra():
    assert extra_for("orchestrator.nothing") is None
    assert extra_for(None) is None


@pytest.mark.parametrize(
    ("cuda", "words"),
    [
        ("'13.0'", "CUDA 13.0, driver 580 or later"),
        ("'12.8'", "CUDA 12.8, driver 525 or later"),
        ("'99.1'", "CUDA 99.1"),
        ("None", "without CUDA"),
    ],
)
def test_a_build_of_torch_says_its_cuda_and_driver(cuda, words):
    file = f"__version__ = '2.13.0+x'\ndebug = False\ncuda: Optional[str] = {cuda}\nhip = None\n"
    assert torch_line(file) == f"torch, version 2.13.0+x, {words}"


def test_the_version_of_an_image_has_its_commit(monkeypatch):
    monkeypatch.setenv(COMMIT, "8c42874")
    result = CliRunner().invoke(cli, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("neurogloss, version ")
    assert ", commit 8c42874\n" in result.output


def test_the_version_of_a_checkout_has_the_commit_of_git(monkeypatch):
    monkeypatch.delenv(COMMIT, raising=False)
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    if done.returncode != 0:
        pytest.skip("the tests are in no checkout")
    output = CliRunner().invoke(cli, ["--version"]).output
    assert f", commit {done.stdout.strip()}\n" in output
