"""A stored run with its configuration, which is validated when the run is loaded."""

import logging
import socket
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy import Connection, Engine

from db import runs
from db.configurations import differences
from db.runs import StoredRun
from db.session import transaction
from neurogloss.config.run import RunConfig
from neurogloss.errors import OtherVersion, RunError
from worker.outages import retry_while_db_down

log = logging.getLogger(__name__)

_SHOWN = 3  # problems of a configuration


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is stored, and its configuration."""

    row: StoredRun
    config: RunConfig

    @classmethod
    def of(cls, row: StoredRun) -> "Run":
        """Return a run with its configuration. Keys that were added since have their defaults.

        Raises:
            OtherVersion: The configuration has what this version does not know.
        """
        try:
            config = RunConfig.model_validate(row.config)
        except ValidationError as error:
            raise OtherVersion(
                f"the configuration of run {row.name!r} is of another version of neurogloss "
                f"({_problems(error)}): update neurogloss on {socket.gethostname()}, then resume"
            ) from error
        return cls(row, config.read_in(Path(row.folder) if row.folder else None))

    @property
    def id(self) -> int:
        return self.row.id

    @property
    def name(self) -> str:
        return self.row.name


def _problems(error: ValidationError) -> str:
    """Return the invalid keys and their problems, without values, which are untrusted."""
    shown = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:_SHOWN]]
    return "; ".join(shown)[:500]


def load_run(connection: Connection, run_id: int) -> Run:
    """Return a run.

    Raises:
        LookupError: There is none with this id.
        OtherVersion: Its configuration has what this version does not know.
    """
    return Run.of(runs.get(connection, run_id))


def pause_run(engine: Engine, run_id: int, error: RunError) -> None:
    """Pause a run in all processes, once the database lets it."""

    def pause() -> str | None:
        with transaction(engine) as connection:
            if not runs.pause(connection, run_id, error.cause, error.reason):
                return None
            return runs.get(connection, run_id).name

    if name := retry_while_db_down(pause):
        log_pause(name, error)


def log_pause(name: str, error: RunError) -> None:
    """Log that this process has paused a run, and why."""
    log.info("run paused", extra={"run": name, "cause": error.cause, "reason": error.reason})


def log_changes(event: str, name: str, before: RunConfig, after: RunConfig) -> None:
    """Log what differs between two configurations of a run, if anything does."""
    changes = differences(before.model_dump(mode="json"), after.model_dump(mode="json"))
    if changes:
        log.info(event, extra={"run": name, "changes": "; ".join(changes)})


class SeenConfigs:
    """The configurations that a process has read of runs: of a run, only its limits ever change."""

    def __init__(self) -> None:
        self._configs: dict[int, RunConfig] = {}

    def note(self, run: Run) -> None:
        """Log what has changed since the run was read last."""
        before = self._configs.get(run.id)
        self._configs[run.id] = run.config
        if before is not None:
            log_changes("limits taken over", run.name, before, run.config)
