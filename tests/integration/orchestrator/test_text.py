"""The command `text` on a run with a worker that answers: what it shows, and what it refuses."""

import json
import re
import threading

import pytest
from sqlalchemy import text as sql

from db import heartbeats
from db.session import transaction
from orchestrator.cli.actions import text as text_command
from worker.stages.text import text as answer
from worker.text_queue import TextQueue

TEXT = "The following is a list of the modules in the standard"
INVISIBLE = {"\x1b", "\u202e", "\u200b", "\r"}


@pytest.fixture
def answering(whole, monkeypatch):
    """A worker of the queue gpu, in a thread."""
    monkeypatch.setattr("worker.text_queue.LOOK_S", 0.02)
    with transaction(whole) as connection:
        heartbeats.beat(connection, "w", "gpu", "here", 0)
    stop = threading.Event()
    queue = TextQueue(whole, "w", 60, stop)
    queue.watch(answer)
    yield
    stop.set()
    queue.end()


@pytest.fixture
def show(answering, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    return command


def test_the_page_shows_neurons_sums_the_rest_and_the_ablation(show):
    value = json.loads(show("text", TEXT, "--json")[1])
    assert len(value["components"]) == 20
    neurons = [f"{n['layer']}:{n['neuron']}" for n in value["neurons"][:3]]
    arguments = ("--target", value["target"]["text"], "--versus", " the", "--top", "5")
    code, output = show("text", TEXT, *arguments, "--ablate", ",".join(neurons))
    assert code == 0, output
    for shown in (
        f"next token {value['target']['text']!r} (logit ",
        "against ' the' (logit ",
        "neurons by estimated effect, baseline mean",
        "explained neurons account for ",
        "largest without an explanation",
        "other neurons of layer ",
        "with 3 neurons at their mean: logit difference ",
    ):
        assert shown in output
    assert len(re.findall(r"^│.*│ +\d:\d+ │", output, re.MULTILINE)) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("word " * 1025,), "tokens, more than 128"),
        ((TEXT, "--target", " module standard"), "2 tokens, not one: ' module', ' standard'"),
        ((TEXT, "--ablate", "6:0"), "no neuron 6:0: the model has layers 0 to 5"),
        ((TEXT, "--ablate", "first"), "--ablate 'first' is no neuron such as 5:131"),
        ((TEXT, "--ablate", "1:3"), "neuron 1:3 has no mean"),
        ((TEXT, "--ablate", "1:3@77", "--baseline", "zero"), "there is no position 77"),
        (("",), "text is empty"),
        ((TEXT, "--run", "nobody"), "there is no run 'nobody'"),
    ],
)
def test_what_cannot_be_answered_ends_with_a_reason(show, arguments, message):
    code, output = show("text", *arguments)
    assert (code, message in output, "Traceback" in output) == (2, True, False), output


def test_hostile_text_tokens_and_explanations_are_shown_harmlessly(show, whole):
    hostile = "\x1b[2J\u202e[bold]<script>\u200b\r\n%s \\ 🦀"
    with whole.begin() as connection:
        connection.execute(sql("UPDATE explanation SET text = :t"), {"t": hostile})
    for arguments in ((hostile,), (TEXT, "--target", hostile), (TEXT, "--ablate", hostile)):
        _, output = show("text", *arguments)
        assert output
        assert not INVISIBLE & set(output)
    code, output = show("text", hostile, "--json", "--top", "1")
    assert code == 0
    assert "".join(json.loads(output)["tokens"]).startswith("\x1b[2J")


def test_a_text_that_nobody_will_answer_is_withdrawn(command, whole, monkeypatch):
    monkeypatch.setattr(text_command, "NO_WORKER_S", 0.0)
    code, output = command("text", TEXT)
    assert (code, "no GPU worker runs: start one" in output) == (2, True)
    with whole.connect() as connection:
        found = connection.execute(sql("SELECT state, error_class FROM text_request")).one()
    assert tuple(found) == ("failed", "cancelled")
