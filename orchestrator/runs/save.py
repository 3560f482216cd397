"""Store a new run: its configuration, its plan, and the answers of the probe."""

import logging

from sqlalchemy import Connection

from db import runs
from db.runs import NewRun
from neurogloss.config.run import RunConfig
from neurogloss.subject.shape import Shape
from orchestrator.runs.endpoints import Readiness
from orchestrator.runs.plan import Plan
from worker.ledger import PostgresLedger

log = logging.getLogger(__name__)


def save_run(
    connection: Connection,
    config: RunConfig,
    shape: Shape,
    corpus_id: int,
    plan: Plan,
    ready: Readiness,
) -> int:
    """Store a run over a corpus within the caller's transaction; return its id.

    The answers of the probe are stored with it, since they cost money and count against its budget.
    """
    run = NewRun(
        name=config.name,
        config=config.model_dump(mode="json"),
        config_hash=config.digest(),
        corpus_id=corpus_id,
        n_layers=shape.n_layers,
        neurons_per_layer=shape.neurons_per_layer,
        budget_usd=config.budget.usd,
        simulator=ready.simulator.to_json() if ready.simulator else None,
        folder=str(config.folder) if config.folder else None,
    )
    run_id = runs.create(connection, run)
    runs.save_plan(
        connection,
        run_id,
        neurons=plan.neuron_rows(),
        shards=plan.shards,
        totals=plan.totals(),
    )
    PostgresLedger(connection.engine, run_id).save_in(connection, ready.answers)
    return run_id


def log_created(run_id: int, config: RunConfig, plan: Plan, ready: Readiness) -> None:
    """Log that a run was created. Call it after the commit."""
    fields = {
        "run": config.name,
        "run_id": run_id,
        "neurons": plan.n_neurons,
        "shards": len(plan.shards),
        "simulator": ready.simulator.kind if ready.simulator else config.simulator.kind,
    }
    log.info("run created", extra=fields)
