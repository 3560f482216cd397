"""Celery's way into the stages. GPU workers alone have torch, so each stage is imported late."""

from importlib import import_module

from neurogloss.stages import STAGES
from worker import process
from worker.app import app


def _work(stage: str, shard_id: int) -> None:
    """Do a shard by the function that bears the name of its stage, as its module does."""
    process.do_shard(shard_id, getattr(import_module(f"worker.stages.{stage}"), stage))


for _stage in STAGES:

    @app.task(name=f"worker.{_stage}")
    def _task(shard_id: int, stage: str = _stage) -> None:
        _work(stage, shard_id)


@app.task(name="worker.batches")
def batches(run_id: int) -> None:
    """Submit and collect batches of a run."""
    from worker.stages.batches.advance import advance

    process.run_job(run_id, advance)
