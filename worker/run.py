"""A stored run with its configuration: where it is loaded, its configuration is validated."""

from dataclasses import dataclass

from sqlalchemy import Connection

from db import runs
from db.runs import StoredRun
from neurogloss.config.run import RunConfig


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is stored, and its configuration."""

    row: StoredRun
    config: RunConfig

    @classmethod
    def of(cls, row: StoredRun) -> "Run":
        """Return a run with its configuration, of which keys that have come since have defaults."""
        return cls(row, RunConfig.model_validate(row.config))

    @property
    def id(self) -> int:
        return self.row.id

    @property
    def name(self) -> str:
        return self.row.name


def load_run(connection: Connection, run_id: int) -> Run:
    """Return a run.

    Raises:
        LookupError: There is none with this id.
    """
    return Run.of(runs.get(connection, run_id))
