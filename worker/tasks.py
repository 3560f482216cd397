"""Celery's way into the stages. GPU workers alone have torch, so each stage is imported late."""

from worker import process
from worker.app import app


@app.task(name="worker.collect")
def collect(shard_id: int) -> None:
    """Read excerpts through the subject model, or select records from what was read."""
    from worker.stages.collect import collect

    process.work(shard_id, collect)


@app.task(name="worker.explain")
def explain(shard_id: int) -> None:
    """Explain the neurons of a shard."""
    from worker.stages.explain import explain

    process.work(shard_id, explain)


@app.task(name="worker.simulate")
def simulate(shard_id: int) -> None:
    """Simulate the neurons of a shard from their explanations."""
    from worker.stages.simulate import simulate

    process.work(shard_id, simulate)


@app.task(name="worker.score")
def score(shard_id: int) -> None:
    """Score the simulations of a shard."""
    from worker.stages.score import score

    process.work(shard_id, score)


@app.task(name="worker.batches")
def batches(run_id: int) -> None:
    """Submit and collect batches of a run."""
    from worker.stages.batches import advance

    process.run_errand(run_id, advance)
