"""Tasks as the orchestrator sends them: by name, so that it needs neither torch nor a model."""

from celery.canvas import Signature

from neurogloss.stages import GPU_STAGES, STAGES
from worker.app import app

QUEUES = {stage: "gpu" if stage in GPU_STAGES else "api" for stage in STAGES}


def batches(run_id: int) -> Signature:
    """Return the task that brings the batches of a run on."""
    return app.signature("worker.batches", args=(run_id,), queue="api")


def of_stage(stage: str, shard_id: int) -> Signature:
    """Return the task that does a shard of a stage."""
    return app.signature(f"worker.{stage}", args=(shard_id,), queue=QUEUES[stage])
