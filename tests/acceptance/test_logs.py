"""What runs and their workers log: events with fields, and nothing that is secret."""

import json
import re
import signal

from neurogloss.neurons.prompts import LEAD_IN
from rehearsal.faults import FaultRates
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.command_line_runs import BATCHED, KEY, LOOKUP, rehearsed, rows

SMALL = ("per_layer = 96", "per_layer = 16")
JSON = ("--log-format", "json")
TIMEOUT_S = 300  # of a run: a busy machine takes a minute to start the workers
EVERYTHING = {"NEUROGLOSS_LOG_LEVEL": "debug"}
OF_A_SHARD = {"run": "tiny", "attempt": 1}


def events(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def worker_logs(cli):
    return "".join(path.read_text() for path in sorted((cli.home / "logs").iterdir()))


def of(found, message, **fields):
    """Return the events with this message and these fields."""
    return [e for e in found if e["message"] == message and fields.items() <= e.items()]


def test_a_run_and_its_workers_log_what_they_do_without_prompt_answer_or_key(cli):
    faults = FaultRates(server_error=0.05, malformed=0.05)
    with RehearsalServer(RehearsalOptions(api_key=KEY, faults=faults)) as server:
        config = cli.config(rehearsed(server).replace(*SMALL))
        code, output = cli.run(
            "run", config, *JSON, timeout=TIMEOUT_S, ACCEPTANCE_KEY=KEY, **EVERYTHING
        )
    assert code in (0, 3), output
    logged, at_work = events(output), events(worker_logs(cli))

    assert all(e["timestamp"].endswith("Z") and e["level"] and e["logger"] for e in logged)
    assert of(logged, "run created", run="tiny", neurons=32, simulator="json")
    assert of(logged, "dispatcher started", run="tiny")
    assert of(logged, "messages queued", run="tiny", stage="explain")
    assert of(logged, "run finished", run="tiny")

    started = of(at_work, "worker started")
    assert {e["queue"] for e in started} == {"gpu", "api"}
    names = {e["worker"] for e in started}
    for event in ("shard claimed", "shard finished"):
        done = of(at_work, event, **OF_A_SHARD)
        assert {e["stage"] for e in done} == {"collect", "explain", "simulate", "score"}
        assert {e["worker"] for e in done} <= names
    assert all(e["seconds"] >= 0 for e in of(at_work, "shard finished"))
    claimed = {e["shard"] for e in of(at_work, "shard claimed")}
    assert claimed == {e["shard"] for e in of(at_work, "shard finished")}
    assert {e["worker"] for e in of(at_work, "worker stopped")} == names
    assert not [e for e in at_work if "Task" in e["message"]]  # Celery's own lines

    logged_values = [str(value) for e in logged + at_work for value in e.values()]
    everything = "\n".join([worker_logs(cli), *logged_values])  # output has the best explanations
    texts = [row["text"] for row in rows(cli, "SELECT text FROM explanation")]
    assert len(texts) > 20
    for secret in (KEY, LEAD_IN, *texts):  # simulations have the explanations in their prompts
        assert secret not in everything


def test_a_run_whose_key_is_refused_logs_that_it_is_paused_and_why(cli):
    with RehearsalServer(RehearsalOptions(api_key=KEY)) as server:
        config = cli.config(rehearsed(server).replace(*SMALL))
        running = cli.start(
            "run", config, *JSON, "--local-workers", "gpu=1,api=0", ACCEPTANCE_KEY=KEY
        )
        assert any('"run created"' in line for line in running.stdout)
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=60)
        code, output = cli.run("run", config, *JSON, timeout=TIMEOUT_S, ACCEPTANCE_KEY="sk-wrong")
    assert code == 4, output
    assert of(events(output), "run resumed", run="tiny", was="running")
    (paused,) = of(events(output), "run paused", run="tiny", cause="credentials")
    assert "401" in paused["reason"] or "key" in paused["reason"]
    at_work = events(worker_logs(cli))
    assert of(at_work, "run paused", run="tiny", cause="credentials")
    assert of(at_work, "shard given back", run="tiny")
    assert "sk-wrong" not in output + worker_logs(cli)


def test_a_command_that_fails_says_why_as_an_event_where_logs_are_json(cli):
    with RehearsalServer(RehearsalOptions(api_key=KEY)) as server:
        config = cli.config(rehearsed(server).replace(*SMALL))
        code, output = cli.run("run", config, *JSON, timeout=TIMEOUT_S, ACCEPTANCE_KEY="sk-wrong")
    assert code == 4, output
    (failed,) = of(events(output), "command failed", level="ERROR")
    assert failed["reason"].startswith("credentials: ")
    assert "sk-wrong" not in output


def test_batches_are_logged_as_they_are_submitted_and_collected(cli):
    with RehearsalServer(RehearsalOptions()) as server:
        key = 'api_key_env = "ACCEPTANCE_KEY"\n'
        config = cli.config(rehearsed(server).replace(*SMALL).replace(key, BATCHED))
        code, output = cli.run("run", config, *JSON, timeout=TIMEOUT_S)
    assert code == 0, output
    at_work = events(worker_logs(cli))
    submitted = of(at_work, "batch submitted", run="tiny", endpoint="here", model="rehearsal")
    collected = of(at_work, "batch collected", run="tiny", outcome="completed")
    assert {e["batch"] for e in submitted} == {e["batch"] for e in collected} != set()
    assert of(at_work, "shard given back", run="tiny", stage="explain")


LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO |WARNING|ERROR) [\w.]+  .+")


def test_without_options_events_are_lines_of_text_and_a_level_leaves_them_out(cli):
    config = cli.config(LOOKUP.replace(*SMALL))
    code, output = cli.run("run", config, timeout=TIMEOUT_S)
    assert code == 0, output
    assert re.search(r"Z INFO  orchestrator\S+  run created  run=tiny run_id=1 ", output)
    finished = [line for line in worker_logs(cli).splitlines() if "  shard finished  " in line]
    assert finished
    assert all(LINE.fullmatch(line) for line in finished)
    code, output = cli.run("run", config, "--log-level", "warning", timeout=TIMEOUT_S)
    assert (code, "INFO" in output) == (0, False)
