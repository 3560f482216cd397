"""Metrics of a real run are what its views say, and few."""

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from db import progress
from db.session import transaction
from web.app import make_app
from web.settings import WebSettings

DASHBOARD = Path(__file__).parents[3] / "deploy/grafana/dashboards/neurogloss.json"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@pytest.fixture
def client(whole):
    app = make_app(WebSettings(engine=whole))
    with TestClient(app, base_url="http://localhost") as client:
        yield client
    app.state.watched.close()


def samples(client, **headers):
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200
    read = openmetrics_families if headers else text_string_to_metric_families
    return [sample for family in read(answer.text) for sample in family.samples]


def values_of(found, name, *labels):
    return {
        tuple(sample.labels[label] for label in labels): sample.value
        for sample in found
        if sample.name == name
    }


@pytest.mark.parametrize("headers", [{}, {"accept": OPENMETRICS}])
def test_metrics_are_the_counters(whole, client, headers):
    found = samples(client, **headers)
    with transaction(whole) as connection:
        stored = progress.of_run(connection, "whole")
    units = values_of(found, "neurogloss_stage_units", "stage", "progress")
    for stage in stored.stages:
        for name in ("done", "failed", "in_flight", "waiting"):
            assert units[stage.stage, name] == getattr(stage, name)
    assert values_of(found, "neurogloss_run_state", "run", "state") == {("whole", "done"): 1}
    spent = values_of(found, "neurogloss_spent_usd", "stage", "model", "use")
    assert sum(spent.values()) == pytest.approx(sum(cost.usd for cost in stored.costs))
    calls = values_of(found, "neurogloss_calls_total", "stage", "outcome")
    answers = {key: n for key, n in calls.items() if key[1] not in ("rate_limited", "unavailable")}
    assert sum(answers.values()) == sum(cost.calls for cost in stored.costs)
    tokens = values_of(found, "neurogloss_call_tokens_total", "stage", "kind")
    assert tokens["simulate", "prompt"] == sum(
        cost.prompt_tokens for cost in stored.costs if cost.stage == "simulate"
    )


def test_latencies_are_a_histogram(client):
    found = samples(client)
    counts = values_of(found, "neurogloss_call_latency_seconds_count", "stage")
    buckets = values_of(found, "neurogloss_call_latency_seconds_bucket", "stage", "le")
    assert counts
    for (stage,), n in counts.items():
        assert buckets[stage, "+Inf"] == n
        of_stage = [value for (name, _), value in buckets.items() if name == stage]
        assert of_stage == sorted(of_stage)


def test_no_label_is_a_neuron_and_old_runs_are_left_out(whole, client):
    assert len(samples(client)) < 300
    labels = {label for sample in samples(client) for label in sample.labels}
    assert labels <= {
        "run", "state", "stage", "progress", "model", "endpoint", "use", "outcome", "kind", "le",
        "queue",
    }  # fmt: skip
    with transaction(whole) as connection:
        connection.execute(text("UPDATE run SET finished_at = now() - interval '2 days'"))
    assert {sample.name for sample in samples(client)} == {"neurogloss_workers"}


def test_the_dashboard_asks_for_metrics_that_there_are(client):
    there = set(re.findall(r"^# TYPE (\w+)", client.get("/metrics").text, re.MULTILINE))
    asked = set(re.findall(r"neurogloss_\w+", DASHBOARD.read_text(encoding="utf-8")))
    assert {name.removesuffix("_bucket") for name in asked} <= there


def test_hostile_names_stay_labels(whole, client):
    hostile = 'a"b\\c\n# HELP x y'
    with transaction(whole) as connection:
        connection.execute(text("UPDATE run SET name = :name"), {"name": hostile})
    assert values_of(samples(client), "neurogloss_run_state", "run") == {(hostile,): 1}
