"""The state of a run in words."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from db.open_shards import OpenShards
from db.progress import StageProgress, WorkerState
from db.runs import StoredRun
from web.overview.limits import ModelUse
from web.overview.state import state_of

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def run_of(**values):
    defaults = {
        "id": 1, "name": "xl", "config": {}, "config_hash": "h", "corpus_id": 1, "n_layers": 1,
        "neurons_per_layer": 1, "state": "running", "pause_cause": None, "pause_reason": None,
        "budget_usd": None, "simulator": None, "created_at": NOW - HOUR, "finished_at": None,
        "batches_due_at": None, "paused_at": None, "folder": None,
    }  # fmt: skip
    return StoredRun(**(defaults | values))


def stage_of(stage="simulate", **values):
    defaults = {
        "run": "xl", "stage": stage, "total": 100, "done": 10, "failed": 0, "in_flight": 5,
        "waiting": 85, "percent": Decimal(10), "per_minute": Decimal(1), "eta": 31 * HOUR,
        "last_result_at": NOW - timedelta(seconds=3), "unit": "neurons", "stage_order": 7,
        "per_minute_15": Decimal(1), "per_minute_60": Decimal(1), "eta_low": 28 * HOUR,
        "eta_high": 40 * HOUR, "state": "running", "under_way": Decimal(2),
    }  # fmt: skip
    return StageProgress(**(defaults | values))


def use_of(**values):
    defaults = {
        "endpoint": "here", "model": "gpt-4o-mini", "requests_per_minute": 10.0,
        "tokens_per_minute": 100.0, "requests_limit": 1000, "tokens_limit": 10_000,
        "in_flight": 1.0, "max_in_flight": 64, "latency_p50_ms": 1.0, "latency_p95_ms": 1.0,
        "prompt_tokens": 0, "cached_share": None, "cached_before": None,
        "outcomes": {}, "spans": [],
    }  # fmt: skip
    return ModelUse(**(defaults | values))


def worker_of(queue, silent_s=2):
    heard = NOW - timedelta(seconds=silent_s)
    return WorkerState(f"{queue}@h", queue, "h", None, heard, Decimal(1))


OPEN = [OpenShards("simulate", 1, 1, 1, 0)]
IDLE = [OpenShards("simulate", 1, 1, 1, 1)]


@pytest.mark.parametrize(
    ("uses", "workers", "bound"),
    [
        ([use_of(tokens_per_minute=9_500.0)], [worker_of("api")], "tokens a minute of gpt-4o-mini"),
        ([use_of(requests_per_minute=950.0)], [worker_of("api")], "requests a minute of"),
        ([use_of(in_flight=63.0)], [worker_of("api")], "calls that may be in flight"),
        ([use_of()], [worker_of("api"), worker_of("api")], "its workers (2 api)"),
        ([use_of()], [], "none of the queue api"),
        ([use_of()], [worker_of("api", silent_s=300)], "none of the queue api"),
        ([use_of()], [worker_of("gpu")], "none of the queue api"),
    ],
)
def test_a_running_run_says_what_bounds_it(uses, workers, bound):
    state = state_of(run_of(), [stage_of()], uses, workers, OPEN, NOW)
    assert state.sentence.startswith("Running, 1 d 7 h left (1 d 4 h to 1 d 16 h), bound by ")
    assert bound in state.sentence
    assert state.stalled_since is None


def test_a_run_without_results_for_minutes_has_stalled():
    last = NOW - timedelta(minutes=7)
    stages = [stage_of(last_result_at=last), stage_of(last_result_at=None)]
    state = state_of(run_of(), stages, [], [worker_of("api")], IDLE, NOW)
    assert state.stalled_since == last
    assert state.commands == ("neurogloss resume xl",)


def test_a_shard_that_a_worker_holds_may_take_longer():
    def since(minutes):
        stages = [stage_of(last_result_at=NOW - timedelta(minutes=minutes))]
        return state_of(run_of(), stages, [], [worker_of("api")], OPEN, NOW).stalled_since

    assert since(7) is None
    assert since(31) is not None


def test_a_run_that_never_had_a_result_stalls_from_its_beginning():
    state = state_of(run_of(), [stage_of(last_result_at=None, eta=None)], [], [], OPEN, NOW)
    assert state.stalled_since == NOW - HOUR


def test_who_waits_for_batches_need_not_do_anything():
    stages = [stage_of(last_result_at=NOW - HOUR)]
    run = run_of(batches_due_at=NOW + HOUR)
    state = state_of(run, stages, [], [worker_of("api")], OPEN, NOW)
    assert state.commands == ()
    assert "batches" in state.advice


@pytest.mark.parametrize(
    ("cause", "says"),
    [
        ("budget", "its budget is spent"),
        ("credit", "no credit left"),
        ("person", "somebody paused it"),
        ("something new", "something new"),
    ],
)
def test_a_paused_run_says_why_and_what_to_do(cause, says):
    run = run_of(state="paused", pause_cause=cause, pause_reason="the server said so")
    state = state_of(run, [stage_of()], [], [], [], NOW)
    assert says in state.sentence
    assert state.reason == "the server said so"
    assert state.commands == ("neurogloss resume xl",)


def test_a_finished_run_says_how_many_failed_and_how_to_try_them_again():
    run = run_of(state="done", finished_at=NOW)
    assert "60" not in state_of(run, [stage_of()], [], [], [], NOW).sentence
    failed = state_of(run, [stage_of(failed=60)], [], [], [], NOW)
    assert "60 neurons failed" in failed.sentence
    assert failed.commands == ("neurogloss retry xl", "neurogloss resume xl")
