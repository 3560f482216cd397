"""Controls: another neuron's explanation, from the plan to the view, on a real run."""

import json
from dataclasses import asdict

import pytest
from sqlalchemy import text

from db import runs
from db.control_summary import control_summary
from db.evidence import evidence_of
from db.retry import retry_failures
from db.run_status import status_of
from neurogloss.config.run import RunConfig
from neurogloss.config.toml import read_config
from neurogloss.neurons.alarms import alarms_of
from neurogloss.neurons.control import in_order
from orchestrator.cli.terminal.alarm_lines import alarm_lines
from orchestrator.runs.complete import complete_config
from orchestrator.runs.create import create_or_resume
from orchestrator.runs.inputs import check_inputs
from orchestrator.verify.verify import find_differences
from rehearsal.faults import FaultRates
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.planted_subject import Oracle, serving
from tests.support.small_run import finish, run_config
from web.overview.page import read_results

NEURONS = 24


def controlled(base_url, **changes):
    values = run_config(base_url).model_dump(mode="json")
    values["scoring"] |= {"control": 0.01, **changes}
    return RunConfig.model_validate(values)


@pytest.fixture
def online(services, monkeypatch):
    monkeypatch.setenv("REDIS_URL", services.redis_url)


def do_run(engine, config):
    run_id = create_or_resume(engine, config, check_inputs(config, {}), lambda: None)
    finish(engine, run_id)
    return run_id


def faults(engine, run_id):
    return [str(found) for found in find_differences(engine, run_id, lambda *_: None)]


def rows(engine, query, **values):
    with engine.begin() as connection:
        return [dict(row) for row in connection.execute(text(query), values).mappings()]


def test_a_run_controls_the_scores_of_its_neurons(engine, online):
    with RehearsalServer(RehearsalOptions()) as server:
        run_id = do_run(engine, controlled(server.base_url))
        asked = server.stats()["answered"]
    (progress,) = rows(engine, "SELECT * FROM run_progress WHERE stage = 'control'")
    counts = ("total", "done", "failed", "stage_order")
    assert [progress[name] for name in counts] == [NEURONS, NEURONS, 0, 10]
    found = rows(engine, "SELECT * FROM control_score ORDER BY layer, neuron")
    assert len(found) == NEURONS  # all, as there are fewer than 30
    explanations = {
        (row["layer"], row["neuron"]): row["text"] for row in rows(engine, "TABLE explanation")
    }
    for row in found:
        if row["partner"] is None:
            assert row["undefined_reason"] == "dead"
            continue
        assert row["partner"] != row["neuron"]
        assert row["explanation"] == explanations[row["layer"], row["partner"]]
        of_layer = [other["neuron"] for other in found if other["layer"] == row["layer"]]
        ordered = [
            n for n in in_order(0, row["layer"], of_layer) if (row["layer"], n) in explanations
        ]
        assert ordered[(ordered.index(row["neuron"]) + 1) % len(ordered)] == row["partner"]
    with engine.begin() as connection:
        summary = control_summary(connection, 1)
    assert summary.neurons == NEURONS
    assert summary.n + sum(summary.undefined.values()) == NEURONS
    # The rehearsal server reads no explanation, so that another one makes no difference.
    assert summary.score == pytest.approx(summary.control_score, abs=1e-12)
    (cost,) = rows(engine, "SELECT calls FROM run_cost WHERE stage = 'control'")
    (named,) = rows(engine, "SELECT count(DISTINCT call) AS n FROM control_simulation")
    # Some partners were simulated on the same excerpt before: that call is not made again.
    assert 0 < cost["calls"] < named["n"]
    assert asked == rows(engine, "SELECT sum(calls) AS n FROM run_cost")[0]["n"]
    assert faults(engine, run_id) == []


def test_a_file_without_the_key_begins_a_run_with_control_and_goes_on_with_one_without(
    engine, online, tmp_path
):
    (tmp_path / "corpus.txt").write_text("The cat sat on the mat. " * 200)
    file = tmp_path / "run.toml"
    with RehearsalServer(RehearsalOptions()) as server:
        body = run_file(server.base_url)
        file.write_text(body.replace("NAME", "before") + "[scoring]\ncontrol = 0.0\n")
        before = begin(engine, file)
        file.write_text(body.replace("NAME", "before"))
        assert begin(engine, file) == before
        file.write_text(body.replace("NAME", "new"))
        new = begin(engine, file)
        assert begin(engine, file) == new
    stages = rows(engine, "SELECT run, total FROM run_progress WHERE stage = 'control'")
    assert stages == [{"run": "new", "total": 30}]


def test_a_database_that_is_away_while_a_file_is_completed_is_waited_for(engine, monkeypatch):
    find, failing = runs.find, iter([True])

    def found(connection, name):
        if next(failing, False):
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return find(connection, name)

    monkeypatch.setattr(runs, "find", found)
    completed = complete_config(engine, run_config("http://127.0.0.1:9/v1"))
    assert completed.scoring.control == 0.01


def run_file(base_url):
    endpoint = 'endpoint = "here"\nmodel = "rehearsal"\n'
    return (
        'name = "NAME"\n[corpus]\nsource = "corpus.txt"\nexcerpts = 60\nexcerpt_tokens = 16\n'
        f"[neurons]\nper_layer = 10\n[explainer]\n{endpoint}"
        f'[simulator]\nkind = "json"\n{endpoint}[endpoints.here]\nbase_url = "{base_url}"\n'
    )


def begin(engine, file):
    config = complete_config(engine, read_config(file))
    return create_or_resume(engine, config, check_inputs(config, {}), lambda: None)


@pytest.fixture
def run_id(engine, online):
    with RehearsalServer(RehearsalOptions()) as server:
        return do_run(engine, controlled(server.base_url))


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ("DELETE FROM control_score", "has neither a control nor a failure"),
        ("UPDATE control_score SET score = score / 2", "of its control, score is"),
        ("UPDATE control_score SET partner = neuron", "which is not its partner"),
        ("UPDATE control_score SET explanation = 'x'", "or whose explanation has changed"),
        ("DELETE FROM control_simulation", "is not simulated on its scored records"),
        ("UPDATE control_simulation SET call = '\\x00'", "names call 00, which is not stored"),
        ("UPDATE neuron SET has_control = false", "although none was planned"),
    ],
)
def test_verify_finds_what_is_wrong_with_a_control(engine, run_id, damage, fault):
    assert faults(engine, run_id) == []
    one = "SELECT layer, neuron FROM control_score WHERE score > 0 ORDER BY 1, 2 LIMIT 1"
    with engine.begin() as connection:
        done = connection.execute(text(f"{damage} WHERE (layer, neuron) IN ({one})"))
        assert done.rowcount
    assert any(fault in found for found in faults(engine, run_id))


def test_a_control_that_failed_is_tried_again_and_its_neuron_keeps_its_score(engine, online):
    with RehearsalServer(RehearsalOptions(faults=FaultRates(refusal=0.05), seed=3)) as server:
        config = controlled(server.base_url)
        run_id = do_run(engine, config)
        failed = rows(engine, "SELECT layer, neuron FROM failure WHERE stage = 'control'")
        assert failed
        states = {
            row["state"]
            for row in rows(
                engine,
                "SELECT state FROM neuron_summary JOIN failure USING (layer, neuron)"
                " WHERE stage = 'control'",
            )
        }
        assert states == {"scored"}
        assert faults(engine, run_id) == []
        with engine.begin() as connection:
            assert retry_failures(connection, run_id, stage="control") == len(failed)
            connection.execute(text("UPDATE run SET state = 'running'"))
        before = server.stats()["answered"]
        finish(engine, run_id)
        assert server.stats()["answered"] > before
        left = len(rows(engine, "SELECT FROM failure WHERE stage = 'control'"))
        assert left < len(failed)
        assert faults(engine, run_id) == []
        # Explanations that come later change no control.
        with engine.begin() as connection:
            assert retry_failures(connection, run_id, stage="explain")
            connection.execute(text("UPDATE run SET state = 'running'"))
        controls = rows(engine, "SELECT layer, neuron, partner FROM control_score ORDER BY 1, 2")
        finish(engine, run_id)
        later = rows(engine, "SELECT layer, neuron, partner FROM control_score ORDER BY 1, 2")
        assert [row for row in later if row in controls] == controls
    assert faults(engine, run_id) == []


def test_a_neuron_without_a_partner_has_an_undefined_control(engine, online):
    with RehearsalServer(RehearsalOptions()) as server:
        values = controlled(server.base_url).model_dump(mode="json")
        values["neurons"] = {"layers": [0, 3], "per_layer": 1}
        run_id = do_run(engine, RunConfig.model_validate(values))
    found = rows(engine, "SELECT partner, score, undefined_reason FROM control_score")
    assert found == [{"partner": None, "score": None, "undefined_reason": "no_partner"}] * 2
    with engine.begin() as connection:
        summary = control_summary(connection, 1)
    assert (summary.n, summary.score, summary.undefined) == (0, None, {"no_partner": 2})
    assert faults(engine, run_id) == []


def test_a_run_without_control_has_no_such_stage(engine, online):
    with RehearsalServer(RehearsalOptions()) as server:
        do_run(engine, run_config(server.base_url))
    assert rows(engine, "SELECT FROM shard WHERE stage = 'control'") == []
    with engine.begin() as connection:
        assert control_summary(connection, 1) is None


class ListeningOracle(Oracle):
    """Simulates that a neuron fires on the tokens that its explanation names."""

    def choice(self, body):
        explanation, _, *lines = body["messages"][-1]["content"].splitlines()
        keys = body["response_format"]["json_schema"]["schema"]["properties"]
        tokens = [line.partition(": ")[2].strip() for line in lines]
        values = [
            10 * (f'"{token}"' in explanation or f'" {token}"' in explanation) for token in tokens
        ]
        return {"message": {"content": json.dumps(dict(zip(keys, values, strict=True)))}}


class SameAnswer(Oracle):
    """Gives the same answer to every question."""

    def choice(self, body):
        keys = body["response_format"]["json_schema"]["schema"]["properties"]
        return {"message": {"content": json.dumps({key: 10 * (key == "3") for key in keys})}}


def summary_of(engine, oracle):
    """Return what `status` says of a run that names tokens, simulated by an oracle."""
    with serving(oracle) as url:
        values = controlled(url).model_dump(mode="json") | {"explainer": {"kind": "lookup"}}
        values["neurons"] = {"layers": [0, 3], "per_layer": 24}
        run_id = do_run(engine, RunConfig.model_validate(values))
    assert faults(engine, run_id) == []
    with engine.begin() as connection:
        evidence = evidence_of(connection, run_id)
        status = status_of(connection, runs.get(connection, run_id))
        page = read_results(connection, run_id)
    assert status["warnings"] == alarms_of(evidence)
    assert status["control"] == asdict(evidence.control)
    assert page.control == evidence.control
    assert status["warnings"] == page.alarms
    return evidence.control, list(alarm_lines(evidence))


def test_a_simulator_that_listens_scores_far_less_with_another_explanation(engine, online):
    control, lines = summary_of(engine, ListeningOracle)
    assert control.neurons == 30
    assert control.n > 20
    assert control.difference > 0.1
    assert control.difference > 4 * control.standard_error
    assert lines[0].startswith(f"mean score {control.score:.3f}, with other neurons' explanations")
    assert not any("no better than control" in line for line in lines)


def test_a_simulator_that_answers_the_same_is_no_better_than_control(engine, online):
    control, lines = summary_of(engine, SameAnswer)
    assert control.n > 20
    assert control.difference == 0.0
    assert any(line.startswith("warning: scores are no better than control") for line in lines)
    assert any("simulations are the same, though the questions differ" in line for line in lines)
