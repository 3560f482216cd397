"""Changes to runs that commands and pages make."""

import logging
from collections.abc import Sequence

from sqlalchemy import Engine

from db import runs
from db.redo import redo
from db.retry import retry_failures
from db.runs import StoredRun
from db.session import transaction
from neurogloss.errors import InputError
from orchestrator.runs.create import refuse_cancelled
from orchestrator.runs.limits import change_limits
from orchestrator.runs.own import create_own
from web.controls import NeuronOf, OwnScore
from worker.outages import retry_while_db_down
from worker.run import Run

log = logging.getLogger(__name__)

_GO_ON = "If nobody follows the run: neurogloss resume {}"


def pause(engine: Engine, run: StoredRun, by: str) -> None:
    """Pause a run: no further shard begins.

    Raises:
        InputError: It is not running.
    """
    with transaction(engine) as connection:
        if not runs.pause(connection, run.id, "person", f"paused by {by}"):
            raise InputError(f"run {run.name!r} is {run.state}")
    log.info("run paused", extra={"run": run.name, "cause": "person"})


def retry(
    engine: Engine,
    run: StoredRun,
    *,
    failure_class: str | None = None,
    stage: str | None = None,
    layer: int | None = None,
    neuron: int | None = None,
) -> int:
    """Reset failed neurons, so that they are tried again; return how many failures.

    Raises:
        InputError: The run was cancelled.
    """
    refuse_cancelled(run)

    def put_back() -> int:
        with transaction(engine) as connection:
            count = retry_failures(
                connection,
                run.id,
                failure_class=failure_class,
                stage=stage,
                layer=layer,
                neuron=neuron,
            )
            # What was put back is rolled back if the run was cancelled meanwhile.
            if count and not runs.reopen(connection, run.id):
                refuse_cancelled(runs.get(connection, run.id))
            return count

    count = retry_while_db_down(put_back)
    if count:
        log.info("failures retried", extra={"run": run.name, "failures": count})
    return count


class RunControls:
    """The changes that pages of `serve --allow-control` may make, on a connection of their own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def _run(self, name: str) -> StoredRun:
        with transaction(self._engine) as connection:
            run = runs.find(connection, name)
        if run is None or run.state == "importing":
            raise InputError(f"there is no run {name!r}")
        return run

    def pause(self, run: str) -> str:
        """Pause a run."""
        pause(self._engine, self._run(run), "a page")
        return f"Run {run} is paused; what is in progress is finished."

    def resume(self, run: str) -> str:
        """Let a paused run go on, where workers and a dispatcher are."""
        found = self._run(run)
        if found.state != "paused":
            raise InputError(f"run {run!r} is {found.state}, not paused")
        with transaction(self._engine) as connection:
            if not runs.resume(connection, found.id):
                refuse_cancelled(runs.get(connection, found.id))
        log.info("run resumed", extra={"run": run, "run_id": found.id, "was": "paused"})
        return f"Run {run} may go on. {_GO_ON.format(run)}"

    def retry(
        self,
        run: str,
        stage: str | None = None,
        failure_class: str | None = None,
        neuron: NeuronOf | None = None,
    ) -> str:
        """Reset failed neurons, so that they are tried again."""
        layer, number = (None, None) if neuron is None else neuron
        count = retry(
            self._engine,
            self._run(run),
            failure_class=failure_class,
            stage=stage,
            layer=layer,
            neuron=number,
        )
        if not count:
            raise InputError("nothing failed so")
        return f"{count:,} failures will be tried again. {_GO_ON.format(run)}"

    def set_limits(self, run: str, assignments: Sequence[str]) -> str:
        """Change limits, prices or the budget of a run."""
        changed = change_limits(self._engine, self._run(run).id, assignments)
        return "; ".join(changed) if changed else "Nothing changed: it was so already."

    def redo(self, run: str, stage: str, neuron: NeuronOf) -> str:
        """Explain or simulate a neuron again, which has results."""
        found = self._run(run)
        refuse_cancelled(found)
        config = Run.of(found).config
        kind = config.explainer.kind if stage == "explain" else config.simulator.kind
        # These make no call, so that nothing would change.
        if kind in ("lookup", "stored"):
            raise InputError(f"the {stage} of this run is {kind!r}, which would say the same again")
        with transaction(self._engine) as connection:
            if not redo(connection, found.id, stage, *neuron):
                raise InputError(f"run {run!r} has no shards to do it in: it was imported")
            if not runs.reopen(connection, found.id):
                refuse_cancelled(runs.get(connection, found.id))
        place = {"run": run, "stage": stage, "layer": neuron.layer, "neuron": neuron.neuron}
        log.info("neuron done again", extra=place)
        return f"It is done again from the stage {stage} on. {_GO_ON.format(run)}"

    def score(self, run: str, neuron: NeuronOf, explanation: str) -> OwnScore:
        """Score an explanation that a person wrote, in a run of its own."""
        name = create_own(self._engine, self._run(run), *neuron, explanation)
        return OwnScore(name, f"Run {name} scores it. To begin: neurogloss resume {name}")
