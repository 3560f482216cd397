"""Celery's way into the stages. GPU workers alone have torch, so each stage is imported late."""

from importlib import import_module
from typing import Any

from celery.signals import worker_ready
from sqlalchemy import Engine

from db.text_queue import TextClaim
from db.text_results import TextResult
from neurogloss.stages import GPU_STAGES, STAGES
from worker import process
from worker.app import app


def _work(stage: str, shard_id: int) -> None:
    """Do a shard by the function that bears the name of its stage, as its module does."""
    do = getattr(import_module(f"worker.stages.{stage}"), stage)
    if stage in GPU_STAGES:
        with process.texts().before_shard(_answer):
            process.do_shard(shard_id, do)
    else:
        process.do_shard(shard_id, do)


def _answer(engine: Engine, claim: TextClaim) -> TextResult:
    from worker.stages.text import text

    return text(engine, claim)


@worker_ready.connect
def _watch(sender: Any, **_: Any) -> None:
    """Begin what GPU workers do without messages. `worker.app` has started the process before."""
    if any(queue.name == "gpu" for queue in sender.task_consumer.queues):
        from worker.stages.collect import collect, side_steps

        process.texts().watch(_answer)
        process.begin_side_shards(side_steps(), collect)


for _stage in STAGES:

    @app.task(name=f"worker.{_stage}")
    def _task(shard_id: int, stage: str = _stage) -> None:
        _work(stage, shard_id)


@app.task(name="worker.batches")
def batches(run_id: int) -> None:
    """Submit and collect batches of a run."""
    from worker.stages.batches.advance import advance

    process.run_job(run_id, advance)
