"""Runs without an endpoint: to their end, killed, resumed, refused."""

import json
import os
import shutil
import signal
import time

import pytest
from safetensors.numpy import load_file, save_file

from neurogloss.subject.files import DEMO_FOLDER
from tests.support.command_line_runs import DATASET, LOOKUP, PROGRESS, TINY, rows


@pytest.fixture(scope="session")
def undisturbed():
    """What an undisturbed run leaves; filled by the first test that needs it."""
    return {}


def dataset_of(cli, undisturbed):
    """Return what is stored, and check it against an undisturbed run of the same configuration."""
    (found,) = rows(cli, DATASET)
    assert found["n"] == 192
    assert undisturbed.setdefault("dataset", found) == found
    return found


def test_a_run_scores_every_neuron_and_a_second_one_changes_nothing(cli, undisturbed):
    code, output = cli.run("run", cli.config(LOOKUP))
    assert code == 0, output
    assert "mean score by layer" in output
    for stage in rows(cli, PROGRESS):
        assert stage["done"] == stage["total"] > 0
        assert stage["failed"] == 0
    states = rows(cli, "SELECT state, count(*) AS n FROM neuron_summary GROUP BY 1")
    assert states == [{"state": "scored", "n": 192}]
    before = dataset_of(cli, undisturbed)
    started = time.monotonic()
    code, summary = cli.run("run", cli.config(LOOKUP), PYTHONIOENCODING="ascii")
    assert code == 0, summary
    assert "mean score by layer" in summary
    assert time.monotonic() - started < 30
    assert dataset_of(cli, undisturbed) == before
    _look_closer(cli)


def _look_closer(cli):
    (best,) = rows(cli, "SELECT layer, neuron FROM neuron_summary ORDER BY score DESC LIMIT 1")
    neuron = ("neuron", str(best["layer"]), str(best["neuron"]))
    code, page = cli.run(*neuron, PYTHONIOENCODING="ascii")
    assert code == 0
    assert "top only" in page
    assert json.loads(cli.run("status", "--json")[1])["state"] == "done"
    assert "tokens:" in cli.run("search", "tokens")[1]
    assert cli.run("neuron", "99", "0")[0] == 2
    code, output = cli.run("sql", "DELETE FROM score")
    assert code == 2
    assert "read-only" in output


@pytest.mark.parametrize("seconds", [5, 8, 11])
def test_a_run_that_is_killed_at_any_point_goes_on_to_the_same_dataset(cli, undisturbed, seconds):
    first = cli.start("run", cli.config(LOOKUP))
    time.sleep(seconds)
    os.kill(first.pid, signal.SIGKILL if seconds != 8 else signal.SIGINT)
    first.communicate(timeout=60)
    code, output = cli.run("run", cli.config(LOOKUP))
    assert code == 0, output
    dataset_of(cli, undisturbed)


@pytest.mark.parametrize("victim", ["worker gpu", "worker api", "redis-server"])
def test_a_run_outlives_its_workers_and_redis(cli, undisturbed, victim):
    running = cli.start("run", cli.config(LOOKUP))
    killed = 0
    deadline = time.monotonic() + 100
    while running.poll() is None and time.monotonic() < deadline:
        if killed < 2:
            time.sleep(4)
            killed += cli.kill(victim)
        time.sleep(0.2)
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 0, output
    assert killed >= 1
    dataset_of(cli, undisturbed)


def test_a_paused_run_stays_paused_until_it_is_resumed(cli):
    arguments = ("run", cli.config(LOOKUP), "--wait-while-paused")
    first = cli.start(*arguments)
    until_state(cli, "running")
    assert cli.run("pause")[0] == 0
    time.sleep(4)
    assert first.poll() is None
    os.kill(first.pid, signal.SIGKILL)
    first.communicate(timeout=60)
    second = cli.start(*arguments)  # as a container that starts again
    time.sleep(8)
    assert second.poll() is None
    assert rows(cli, "SELECT state FROM run") == [{"state": "paused"}]
    code, output = cli.run("resume")
    assert code == 0, output
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 0, output
    assert "is paused: waiting for `neurogloss resume tiny`" in output


def until_state(cli, state):
    deadline = time.monotonic() + 60
    while rows(cli, "SELECT state FROM run") != [{"state": state}]:
        assert time.monotonic() < deadline
        time.sleep(0.3)


BAD_INPUTS = [
    pytest.param(LOOKUP + "[colour]\nx = 1", "unknown key colour", id="an unknown key"),
    pytest.param(LOOKUP + '[subject]\nmodel = "./none"', "subject.model", id="no model"),
    pytest.param(LOOKUP + '[subject]\nmodel = "FOLDER/bert"', "is not a GPT-2", id="no GPT-2"),
    pytest.param(
        LOOKUP + '[subject]\nmodel = "FOLDER/compiled"', "Rename them", id="compiled weights"
    ),
    pytest.param(
        LOOKUP.replace("300", '300\nsource = "FOLDER/cafe"'), "a.txt, line 1: the byte", id="Latin"
    ),
    pytest.param(LOOKUP.replace("300", '300\nsource = "FOLDER/empty"'), "no .txt", id="no text"),
    pytest.param(
        LOOKUP.replace("300", '300\nsource = "FOLDER/short"'), "contain 0 excerpts", id="too short"
    ),
    pytest.param(LOOKUP.replace("= 300", "= 13"), "too few", id="too few excerpts"),
    pytest.param(
        TINY + '[endpoints.openai]\nbase_url = "http://localhost/v1"\napi_key_env = "UNSET_KEY"\n',
        "UNSET_KEY is not set",
        id="no key",
    ),
]


@pytest.mark.parametrize(("text", "message"), BAD_INPUTS)
def test_wrong_input_gets_one_message_and_leaves_nothing(cli, tmp_path, text, message):
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    shutil.copytree(DEMO_FOLDER, tmp_path / "compiled")
    weights = load_file(DEMO_FOLDER / "model.safetensors")
    compiled = {f"_orig_mod.{name}": weight for name, weight in weights.items()}
    save_file(compiled, tmp_path / "compiled" / "model.safetensors")
    (tmp_path / "cafe").mkdir()
    (tmp_path / "cafe" / "a.txt").write_bytes(b"caf\xe9")
    (tmp_path / "empty").mkdir()
    (tmp_path / "short").mkdir()
    (tmp_path / "short" / "a.txt").write_text("short")
    code, output = cli.run("run", cli.config(text.replace("FOLDER", str(tmp_path))))
    assert code == 2, output
    assert message in output
    assert "Traceback" not in output
    assert rows(cli, "SELECT count(*) AS n FROM run")[0]["n"] == 0


def test_an_unreachable_database_is_named(cli):
    urls = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/x", "REDIS_URL": "redis://127.0.0.1:9"}
    code, output = cli.run("run", cli.config(LOOKUP), **urls)
    assert code == 2
    assert "DATABASE_URL: the database cannot be reached" in output


def test_one_service_without_the_other_is_refused(cli):
    code, output = cli.run("run", cli.config(LOOKUP), REDIS_URL="redis://127.0.0.1:9")
    assert code == 2
    assert "DATABASE_URL is not set" in output


def test_a_changed_configuration_under_an_old_name_is_refused_with_the_difference(cli):
    small = LOOKUP.replace("per_layer = 96", "per_layer = 2")
    assert cli.run("run", cli.config(small))[0] == 0
    code, output = cli.run("run", cli.config(small.replace("random = 6", "random = 9")))
    assert code == 2
    assert "records.random: 6 -> 9" in output
