"""Complete the configuration of a file with what it leaves to the database."""

from sqlalchemy import Engine

from db import runs
from db.runs import StoredRun
from db.session import transaction
from neurogloss.config.run import RunConfig
from orchestrator.runs.derive import with_records_of
from worker.outages import retry_while_db_down
from worker.run import Run


def complete_config(engine: Engine, config: RunConfig) -> RunConfig:
    """Return a configuration with the defaults of its run, and the records of `records.run`.

    Raises:
        InputError: The run `records.run` does not exist, is not done, or keeps too few records.
    """
    stored = retry_while_db_down(lambda: _find(engine, config.name))
    known = config.completed_from(Run.of(stored).config if stored is not None else None)
    return retry_while_db_down(lambda: with_records_of(engine, known))


def _find(engine: Engine, name: str) -> StoredRun | None:
    with transaction(engine) as connection:
        return runs.find(connection, name)
