"""`neurogloss text` on a finished run, on embedded services where no worker runs."""

import json
import math
import os
import re
import signal
import time

import httpx

from tests.support.command_line_runs import LOOKUP, rows

TEXT = "The following is a list of the modules in the standard"
CONTRACT = [
    "tokens", "position", "target", "versus", "logit_difference", "components",
    "accounted_by_explained", "ablation",
]  # fmt: skip
COMPONENT = [
    "kind", "layer", "index", "position", "activation", "quantile", "direct_effect",
    "estimated_effect", "explanation", "score",
]  # fmt: skip


def test_a_text_is_answered_by_a_worker_that_comes_and_goes(cli):
    code, output = cli.run("run", cli.config(LOOKUP))
    assert code == 0, output
    code, output = cli.run("text", TEXT, "--json", "--top", "0", "--ablate", "0:512")
    assert (code, "no neuron 0:512" in output) == (2, True)
    (best,) = rows(cli, "SELECT layer, neuron FROM neuron_summary ORDER BY score DESC LIMIT 1")
    ablate = f"{best['layer']}:{best['neuron']}"
    code, output = cli.run("text", TEXT, "--json", "--top", "0", "--ablate", ablate)
    assert code == 0, output
    assert cli.pids("worker gpu") == []
    answer = json.loads(output)
    _is_as_designed(answer)
    _is_complete(answer)
    (stored,) = rows(cli, "SELECT text, state, attempts FROM text_request")
    assert stored == {"text": TEXT, "state": "done", "attempts": 1}
    _is_answered_on_a_page(cli)


def _is_as_designed(answer):
    assert list(answer)[: len(CONTRACT)] == CONTRACT
    assert all(list(component) == COMPONENT for component in answer["components"])
    assert set(answer["target"]) == {"text", "token", "logit", "probability"}
    assert set(answer["ablation"]) == {"logit_difference", "probability"}
    assert "".join(answer["tokens"]) == TEXT
    assert answer["position"] == len(answer["tokens"]) - 1


def _is_complete(answer):
    effects = [component["direct_effect"] for component in answer["components"]]
    magnitude = math.fsum(map(abs, effects))
    assert abs(math.fsum(effects) - answer["logit_difference"]) < 1e-4 * magnitude
    kinds = {component["kind"] for component in answer["components"]}
    assert kinds >= {"neuron", "head", "embedding", "bias", "mlp_rest"}
    explained = [n for n in answer["neurons"] if n["explanation"].startswith("tokens: ")]
    assert len(explained) == len(answer["neurons"]) == 192
    assert all(len(n["activations"]) == len(answer["tokens"]) for n in answer["neurons"])


def _is_answered_on_a_page(cli):
    """A server of pages starts a worker for texts, which ends with it."""
    server = cli.start("serve", "--port", "0")
    address = server.stdout.readline().split("  ")[0]
    with httpx.Client(base_url=address, timeout=30) as client:
        csrf = re.search(r'name="csrf" value="([^"]+)"', client.get("/runs/tiny/text").text)[1]
        sent = client.post("/runs/tiny/text", data={"text": "standard library", "csrf": csrf})
        assert sent.status_code == 303, sent.text
        page = sent.headers["location"]
        deadline = time.monotonic() + 60
        while (state := _state(client, page)) in ("waiting", "running"):
            assert time.monotonic() < deadline
            time.sleep(0.3)
    assert state == "done"
    os.killpg(server.pid, signal.SIGINT)
    said, _ = server.communicate(timeout=40)
    assert (server.returncode in (0, 130), "Traceback" in said) == (True, False), said
    assert cli.pids("worker gpu") == []


def _state(client, page):
    return client.get(page, headers={"accept": "application/json"}).json()["request"]["state"]
