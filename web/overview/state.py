"""The state of a run in words: what bounds it, whether it stands still, and what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from db.open_shards import OpenShards
from db.progress import StageProgress, WorkerState
from db.runs import StoredRun
from neurogloss.stages import GPU_STAGES
from web.formats import count, duration
from web.overview.limits import ModelUse

STALLED_AFTER = timedelta(minutes=5)
STALLED_AT_WORK_AFTER = timedelta(minutes=30)  # while workers hold shards: one may take long
SILENT_AFTER = timedelta(minutes=1)  # a worker that was not heard of for longer may be gone
BOUND_FROM = 0.9  # of a limit: limiters keep a little below what they may use

_CAUSES = {
    "budget": "its budget is spent",
    "collect": "the subject model or the corpus cannot be read",
    "credentials": "the endpoint does not accept the key",
    "credit": "the account behind the key has no credit left",
    "endpoint": "the endpoint cannot be reached",
    "model": "the model does not fit the run",
    "person": "somebody paused it",
    "version": "a worker is of another version",
}
_FIRST = {
    "budget": "Raise the budget by `neurogloss set {run} budget.usd=...`, or leave it.",
    "collect": "Read the reason, mend it on that worker, and resume.",
    "credentials": "Set the variable that holds the key, for the orchestrator and the workers.",
    "credit": "Top the account up.",
    "endpoint": "Start the server, or correct its address.",
    "model": "Choose another model, or give the server a longer context.",
    "version": "Update neurogloss on that host.",
}


@dataclass(frozen=True, slots=True)
class StateInWords:
    """What a run does now.

    Attributes:
        sentence: For people; `reason` is what the program that paused the run has said.
        advice: What to do about it, and the commands that do it.
    """

    state: str
    sentence: str
    reason: str | None = None
    advice: str | None = None
    commands: tuple[str, ...] = ()
    stalled_since: datetime | None = None
    paused_since: datetime | None = None


def state_of(
    run: StoredRun,
    stages: Sequence[StageProgress],
    uses: Sequence[ModelUse],
    workers: Sequence[WorkerState],
    shards: Sequence[OpenShards],
    now: datetime,
) -> StateInWords:
    """Return the state of a run in words."""
    if run.state == "paused":
        return _paused(run)
    if run.state == "done":
        return _done(run, stages)
    if run.state == "cancelled":
        return StateInWords(run.state, "Cancelled for good; what was stored stays.")
    bound = bound_of(run, stages, uses, workers, shards, now)
    is_at_work = any(shard.leased > shard.orphaned for shard in shards)
    patience = STALLED_AT_WORK_AFTER if is_at_work else STALLED_AFTER
    return _running(run, stages, bound, now, patience)


def _paused(run: StoredRun) -> StateInWords:
    cause = run.pause_cause or "person"
    return StateInWords(
        run.state,
        f"Paused: {_CAUSES.get(cause, cause)}.",
        run.pause_reason,
        _FIRST.get(cause, "").format(run=run.name) or None,
        (f"neurogloss resume {run.name}",),
        paused_since=run.paused_at,
    )


def _done(run: StoredRun, stages: Sequence[StageProgress]) -> StateInWords:
    took = f" It took {duration(run.finished_at - run.created_at)}." if run.finished_at else ""
    # A neuron that fails in a stage counts as failed in all that follow.
    failed = max((stage.failed for stage in stages), default=0)
    if not failed:
        return StateInWords(
            run.state, f"Done: every neuron has a score or a reason for none.{took}"
        )
    return StateInWords(
        run.state,
        f"Done, but {count(failed)} neurons failed.{took}",
        advice="Their classes are below; each can be tried again.",
        commands=(f"neurogloss retry {run.name}", f"neurogloss resume {run.name}"),
    )


def _running(
    run: StoredRun,
    stages: Sequence[StageProgress],
    bound: str | None,
    now: datetime,
    patience: timedelta,
) -> StateInWords:
    since = max((s.last_result_at for s in stages if s.last_result_at), default=run.created_at)
    sentence = f"Running{_time_left(stages)}{f', bound by {bound}' if bound else ''}."
    if now - since < patience:
        return StateInWords(run.state, sentence)
    waits_for_batches = run.batches_due_at is not None
    advice = (
        "Its calls are in batches, which may take a day."
        if waits_for_batches
        else "Look at the workers below and at their logs; does a dispatcher follow the run?"
    )
    return StateInWords(
        run.state,
        sentence,
        advice=advice,
        commands=() if waits_for_batches else (f"neurogloss resume {run.name}",),
        stalled_since=since,
    )


def _time_left(stages: Sequence[StageProgress]) -> str:
    # Stages overlap: the run ends with the last of them, not after the sum of all.
    left = max((stage.eta for stage in stages if stage.eta), default=None)
    if left is None:
        return ""
    low = max(stage.eta_low or left for stage in stages if stage.eta)
    high = max(stage.eta_high or left for stage in stages if stage.eta)
    about = f" ({duration(low)} to {duration(high)})" if duration(low) != duration(high) else ""
    return f", {duration(left)} left{about}"


def bound_of(
    run: StoredRun,
    stages: Sequence[StageProgress],
    uses: Sequence[ModelUse],
    workers: Sequence[WorkerState],
    shards: Sequence[OpenShards],
    now: datetime,
) -> str | None:
    """Return what a run would need more of to be faster; None if nothing can be said."""
    for use in uses:
        for share, what in (
            (use.tokens_share, f"tokens a minute of {use.model}"),
            (use.requests_share, f"requests a minute of {use.model}"),
            (use.in_flight_share, f"calls that may be in flight to {use.model}"),
        ):
            if share is not None and share >= BOUND_FROM:
                return what
    queues = {"gpu" if shard.stage in GPU_STAGES else "api" for shard in shards}
    alive = [worker.queue for worker in workers if now - worker.heartbeat_at < SILENT_AFTER]
    for queue in sorted(queues):
        if queue not in alive:
            return f"a missing worker: none of the queue {queue} was heard of lately"
    if run.batches_due_at is not None:
        return "batches at the endpoint"
    if stages and stages[0].stage == "collect" and stages[0].waiting + stages[0].in_flight:
        return "the passes of the subject model"
    if queues:
        names = " and ".join(f"{alive.count(queue)} {queue}" for queue in sorted(queues))
        return f"its workers ({names})"
    return None
