"""What pages quote beside commands: SQL is answered, configurations are read, programs run."""

import json
import subprocess
import sys
import tomllib

import pytest

from neurogloss.config.run import RunConfig
from neurogloss.config.toml import read_config
from tests.support.documents import ROOT, Quoted, blocks

LIBRARY = "docs/library.md"  # its example is run by tests/acceptance/test_library.py


@pytest.mark.parametrize("block", blocks("sql"), ids=str)
def test_sql_is_answered(block, run_command):
    for query in filter(str.strip, block.text.split(";")):
        query = query.replace("(3, 418)", "(3, (SELECT min(neuron) FROM neuron WHERE layer = 3))")
        code, output = run_command("sql", "--json", query)
        assert code == 0, output
        json.loads(output)


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_a_configuration_is_read(block, tmp_path):
    values = tomllib.loads(block.text)
    if "name" in values:
        (tmp_path / "run.toml").write_text(block.text)
        read_config(tmp_path / "run.toml")
        return
    whole = read_config(ROOT / "deploy/runs/gpt2-xl.toml").model_dump(mode="json")
    for section, keys in values.items():
        whole[section] = {**(whole.get(section) or {}), **keys}
    RunConfig.model_validate(whole)


@pytest.mark.parametrize(
    "file", sorted(ROOT.glob("deploy/runs/*.toml")), ids=lambda file: file.name
)
def test_a_run_file_is_read(file):
    assert read_config(file).name == file.stem


def test_the_recipe_for_a_server_of_your_own_is_the_file():
    file = (ROOT / "deploy/runs/gpt2-xl-vllm.toml").read_text().split("\n", 1)[1].strip()
    assert file in {block.text.strip() for block in blocks("toml")}


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_json_is_whole(block):
    json.loads(block.text)


@pytest.mark.parametrize("block", [b for b in blocks("python") if b.page != LIBRARY], ids=str)
def test_a_program_runs(block: Quoted, folder):
    done = subprocess.run(
        [sys.executable, "-c", block.text], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
