"""Runs as metrics of Prometheus, read from the counters when they are asked for.

Labels are names of runs that are watched, of stages, models and classes: so their number does not
grow with neurons or calls.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from sqlalchemy import Connection

from db import call_minutes, progress, run_list
from db.call_minutes import LATENCY_BOUNDS_MS, CallCount
from db.open_shards import open_shards
from db.run_list import CurrentRun

SILENT_AFTER = timedelta(minutes=1)
_CALL = ("run", "stage", "endpoint", "model")
_TOKENS = ("prompt", "cached", "completion")


class RunMetrics:
    """Collects the metrics of all watched runs, in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics; those of one name together."""
        runs = run_list.current(self._connection)
        yield from self._states(runs)
        yield from self._stages(runs)
        yield from self._money(runs)
        yield from self._calls(runs)
        yield self._shards(runs)
        yield self._workers()

    def _states(self, runs: Iterable[CurrentRun]) -> Iterator[Metric]:
        info = GaugeMetricFamily(
            "neurogloss_run_state", "1 for the state that a run is in.", labels=["run", "state"]
        )
        budget = GaugeMetricFamily(
            "neurogloss_run_budget_usd", "What a run may spend.", labels=["run"]
        )
        for run in runs:
            info.add_metric([run.run, run.state], 1)
            if run.budget_usd is not None:
                budget.add_metric([run.run], run.budget_usd)
        yield info
        yield budget

    def _stages(self, runs: Iterable[CurrentRun]) -> Iterator[Metric]:
        units = GaugeMetricFamily(
            "neurogloss_stage_units",
            "Neurons of a stage, or excerpts of collect, by how far they are.",
            labels=["run", "stage", "progress"],
        )
        left = GaugeMetricFamily(
            "neurogloss_stage_left_seconds",
            "Time left at the rate of the last 15 minutes.",
            labels=["run", "stage"],
        )
        last = GaugeMetricFamily(
            "neurogloss_stage_last_result_timestamp_seconds",
            "When a stage had its last result.",
            labels=["run", "stage"],
        )
        for run in runs:
            for stage in progress.stages(self._connection, run.run):
                for name in ("done", "failed", "in_flight", "waiting"):
                    units.add_metric([run.run, stage.stage, name], getattr(stage, name))
                if stage.eta is not None:
                    left.add_metric([run.run, stage.stage], stage.eta.total_seconds())
                if stage.last_result_at is not None:
                    last.add_metric([run.run, stage.stage], stage.last_result_at.timestamp())
        yield from (units, left, last)

    def _money(self, runs: Iterable[CurrentRun]) -> Iterator[Metric]:
        spent = GaugeMetricFamily(
            "neurogloss_spent_usd",
            "What a run has paid a model, by whether it was of use.",
            labels=["run", "stage", "model", "use"],
        )
        for run in runs:
            for cost in progress.costs(self._connection, run.run):
                wasted = cost.usd_wasted_on_retries
                spent.add_metric([run.run, cost.stage, cost.model, "used"], cost.usd - wasted)
                spent.add_metric([run.run, cost.stage, cost.model, "wasted"], wasted)
        yield spent

    def _calls(self, runs: Iterable[CurrentRun]) -> Iterator[Metric]:
        calls = CounterMetricFamily(
            "neurogloss_calls", "Calls by what they came to.", labels=[*_CALL, "outcome"]
        )
        tokens = CounterMetricFamily(
            "neurogloss_call_tokens",
            "Tokens of answers; cached ones are among those of prompts.",
            labels=[*_CALL, "kind"],
        )
        latency = HistogramMetricFamily(
            "neurogloss_call_latency_seconds", "Time that an answer took.", labels=_CALL
        )
        for run in runs:
            counts = call_minutes.totals(self._connection, run.id)
            for count in counts:
                key = [run.run, count.stage, count.endpoint, count.model]
                calls.add_metric([*key, count.outcome], count.calls)
            for count in call_minutes.summed(counts, ["stage", "endpoint", "model"]):
                key = [run.run, count.stage, count.endpoint, count.model]
                for kind in _TOKENS:
                    tokens.add_metric([*key, kind], getattr(count, f"{kind}_tokens"))
                latency.add_metric(key, _buckets(count), sum_value=count.latency_ms / 1000)
        yield from (calls, tokens, latency)

    def _shards(self, runs: Iterable[CurrentRun]) -> Metric:
        shards = GaugeMetricFamily(
            "neurogloss_shards",
            "Open shards; orphaned ones are among those that are leased.",
            labels=["run", "stage", "state"],
        )
        for run in runs:
            for open_ in open_shards(self._connection, run.id):
                for name in ("ready", "queued", "leased", "orphaned"):
                    shards.add_metric([run.run, open_.stage, name], getattr(open_, name))
        return shards

    def _workers(self) -> Metric:
        workers = GaugeMetricFamily(
            "neurogloss_workers", "Workers that were heard of in the last minute.", labels=["queue"]
        )
        since = datetime.now(UTC) - SILENT_AFTER
        alive = [w.queue for w in progress.workers(self._connection) if w.heartbeat_at > since]
        for queue in ("gpu", "api"):
            workers.add_metric([queue], alive.count(queue))
        return workers


def _buckets(count: CallCount) -> list[tuple[str, float]]:
    # Prometheus wants each bucket to count all that the smaller ones do.
    bounds = [*(str(bound / 1000) for bound in LATENCY_BOUNDS_MS), "+Inf"]
    return list(zip(bounds, map(float, accumulate(count.latency_counts)), strict=True))
