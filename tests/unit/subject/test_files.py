"""Files of models that the hub has, or would have if it could be reached."""

import os
import socket
import subprocess
import sys

import pytest

from neurogloss.errors import InputError
from neurogloss.subject.files import check_hub, is_at_hand, model_file

READ = """
import sys
from neurogloss.errors import InputError
from neurogloss.subject.files import check_hub
try:
    check_hub(sys.argv[1])
except InputError as error:
    print(error)
"""


@pytest.fixture
def without_hub(tmp_path):
    """Run a program in a process whose hub is an address at which nobody listens."""

    def run(program, *arguments, **variables):
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        env = {**os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HOME": str(tmp_path)}
        command = [sys.executable, "-c", program, *arguments]
        env |= {"HF_HUB_OFFLINE": "0"} | variables
        # The hub's own package would try for 24 s, and say so in as many lines.
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=15)

    return run


def test_a_hub_that_cannot_be_reached_is_told_at_once_with_what_needs_none(without_hub):
    done = without_hub(READ, "someone/model")
    assert "'someone/model' is no folder, and the hub cannot be reached: " in done.stdout
    assert "Connection refused. A folder with the model's files needs no hub." in done.stdout
    assert done.stderr == ""


def test_a_hub_that_may_not_be_asked_is_told(without_hub):
    done = without_hub(READ, "someone/model", HF_HUB_OFFLINE="1")
    assert "offline mode is enabled" in done.stdout


@pytest.mark.parametrize("model", ["demo", "/no/folder", "./none", "a/b/c", "some one/model"])
def test_a_model_that_cannot_be_of_the_hub_needs_none(model, monkeypatch):
    def refuse(*_):
        raise AssertionError("the hub is asked")

    monkeypatch.setattr("neurogloss.hub.get_hf_file_metadata", refuse)
    check_hub(model)


def test_a_name_that_the_hub_cannot_have_is_told():
    assert not is_at_hand("some one/model", "config.json")
    with pytest.raises(InputError, match="is neither a folder nor a model of the hub: Repo id"):
        model_file("some one/model", "config.json")


DATASET = """
from neurogloss.hub import HubUnreachable, reach
try:
    reach("owner/texts", "README.md", "dataset")
except HubUnreachable as error:
    print(error)
"""


def test_the_hub_of_datasets_is_asked_once(without_hub):
    done = without_hub(DATASET)
    assert done.stdout.strip().endswith("Connection refused")
    assert done.stderr == ""
