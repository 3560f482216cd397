"""Models that think aloud, whose answers are cut off, or that do not listen."""

import hashlib
import json
import re

import pytest
from sqlalchemy import text

from db.evidence import evidence_of
from neurogloss.config.run import RunConfig
from neurogloss.errors import UnsuitableModel
from neurogloss.neurons.alarms import alarms_of
from neurogloss.neurons.few_shot import EXAMPLES
from orchestrator.cli.terminal.alarm_lines import alarm_lines
from orchestrator.runs.create import create_or_resume
from orchestrator.runs.inputs import check_inputs
from tests.support.planted_subject import Oracle, serving
from tests.support.small_run import finish, run_config

FOUND = "the main thing this neuron does is find"
ANSWERS = [
    {"message": {"content": f"<think>a\nb</think>\n\n{FOUND} thought over."}},
    {"message": {"content": f"{FOUND} said beside.", "reasoning_content": "hm"}},
    {"message": {"content": f"[THINK]a[/THINK]{FOUND} a line\nand mo"}, "finish_reason": "length"},
    {"message": {"content": f"{FOUND} a sentence. And mo"}, "finish_reason": "length"},
    {"message": {"content": f"{FOUND} half a sen"}, "finish_reason": "length"},
    {"message": {"content": "<think>a, b"}, "finish_reason": "length"},
    {"message": {"content": "<think>a, b</think>"}},
]
EXPLAINED = {"thought over", "said beside", "a line", "a sentence", "half a sen"}


class ThinkingOracle(Oracle):
    """Gives one of the answers to each neuron, the same whenever it is asked."""

    def choice(self, body):
        asked = body["messages"][-1]["content"]
        if "Activations:" not in asked:
            return {"message": {"content": "Rhine"}}
        return ANSWERS[hashlib.sha256(asked.encode()).digest()[0] % len(ANSWERS)]


class SlowThinker(Oracle):
    """Says nothing within fewer tokens than 1,500."""

    def choice(self, body):
        if body["max_tokens"] < 1500:
            return {"message": {"content": None, "reasoning": "hm"}, "finish_reason": "length"}
        return {"message": {"content": f"{FOUND} words"}}


LOOKUP = {"kind": "lookup"}


def explained(engine, url, simulator=LOOKUP, prices=None, **explainer):
    """Return the explanations and failures of a run."""
    values = run_config(url).model_dump(mode="json")
    values |= {"simulator": simulator, "explainer": values["explainer"] | explainer}
    for endpoint in values["endpoints"].values():
        endpoint["prices"] = prices or endpoint["prices"]
    config = RunConfig.model_validate(values)
    run_id = create_or_resume(engine, config, check_inputs(config, {}), lambda: None)
    finish(engine, run_id)
    with engine.begin() as connection:
        return (
            list(connection.scalars(text("SELECT text FROM explanation"))),
            list(connection.execute(text("SELECT failure_class, message FROM failure"))),
        )


def test_what_is_thought_and_what_is_cut_off_still_explains(engine, services, monkeypatch):
    monkeypatch.setenv("REDIS_URL", services.redis_url)
    with serving(ThinkingOracle) as url:
        explanations, failures = explained(engine, url)
    assert set(explanations) == EXPLAINED
    assert {tuple(failure) for failure in failures} == {
        ("malformed", "the answer is reasoning alone, without an explanation after it"),
        (
            "reasoning",
            "the model used all 5 tokens before its answer began, as models that reason do: "
            "set max_tokens higher",
        ),
    }


def test_an_answer_that_was_cut_off_and_kept_costs_what_any_other_does(
    engine, services, monkeypatch
):
    monkeypatch.setenv("REDIS_URL", services.redis_url)
    with serving(ThinkingOracle) as url:
        explained(engine, url, prices={"rehearsal": {"input": 1.0, "output": 1.0}})
    query = """
        SELECT coalesce(explanation.text, '') <> '' AS is_kept, call.finish_reason, call.usd,
               (prompt_tokens + completion_tokens) / 1e6::float8 AS price, call.wasted_usd
        FROM call LEFT JOIN explanation ON explanation.call = call.identity
        WHERE purpose = 'explain'
    """
    with engine.begin() as connection:
        rows = list(connection.execute(text(query)))
        spent = connection.execute(
            text("SELECT sum(usd), sum(wasted_usd) FROM spend WHERE stage = 'explain'")
        ).one()
    kept = [row for row in rows if row.is_kept]
    assert {row.finish_reason for row in kept} == {"stop", "length"}
    for row in kept:
        assert (row.usd, row.wasted_usd) == (pytest.approx(row.price), 0)
    assert all(row.usd == 0 for row in rows if not row.is_kept and row.finish_reason == "length")
    assert tuple(spent) == pytest.approx(
        (sum(row.usd for row in rows), sum(row.wasted_usd for row in rows))
    )


def test_a_model_that_thinks_longer_than_its_limit_is_refused_or_given_room(
    engine, services, monkeypatch
):
    monkeypatch.setenv("REDIS_URL", services.redis_url)
    with serving(SlowThinker) as url:
        with pytest.raises(UnsuitableModel, match="set max_tokens higher"):
            explained(engine, url)
        explanations, failures = explained(engine, url, max_tokens=1500)
    assert set(explanations) == {"words"}
    assert failures == []


class GoesOn(Oracle):
    """Goes on with the last message, if that is the beginning of an answer."""

    def choice(self, body):
        *_, last = body["messages"]
        is_begun = (last["role"], last["content"]) == ("assistant", FOUND)
        return {"message": {"content": " what follows" if is_begun else f"{FOUND} words anew"}}


class BeginsAnew(Oracle):
    def choice(self, body):
        return {"message": {"content": f"{FOUND} words anew"}}


def test_the_beginning_of_an_answer_is_given_where_a_server_goes_on(engine, services, monkeypatch):
    monkeypatch.setenv("REDIS_URL", services.redis_url)
    with serving(BeginsAnew) as url, pytest.raises(UnsuitableModel, match="does not go on"):
        explained(engine, url, prefill=True)
    with serving(GoesOn) as url:
        explanations, failures = explained(engine, url, prefill=True)
    assert (set(explanations), failures) == ({"what follows"}, [])


class DeafModel(Oracle):
    """Repeats an example in place of an explanation, and one simulation for all questions."""

    def choice(self, body):
        if "response_format" not in body:
            return {"message": {"content": f"{FOUND} {EXAMPLES[0].explanation}."}}
        keys = body["response_format"]["json_schema"]["schema"]["properties"]
        return {"message": {"content": json.dumps({key: 10 * (key == "1") for key in keys})}}


def test_a_model_that_does_not_listen_is_told_of(engine, services, monkeypatch):
    monkeypatch.setenv("REDIS_URL", services.redis_url)
    with serving(DeafModel) as url:
        explained(engine, url, {"kind": "json", "endpoint": "here"})
    with engine.begin() as connection:
        evidence = evidence_of(connection, 1)
    answers, repeated, same = alarms_of(evidence)
    assert re.match(r"(\d+) of \1 simulations are the same", answers)
    assert re.match(r"(\d+) of \1 explanations repeat an example", repeated)
    assert re.match(r"(\d+) of \1 explanations are the same", same)
    assert list(alarm_lines(evidence)) == [
        f"warning: {alarm}" for alarm in (answers, repeated, same)
    ]
