"""Complete the configuration of a file with what it leaves to the database."""

from sqlalchemy import Engine

from db import runs
from db.session import transaction
from neurogloss.config.run import RunConfig
from orchestrator.runs.derive import with_records_of
from worker.run import Run


def complete_config(engine: Engine, config: RunConfig) -> RunConfig:
    """Return a configuration with the control of its run, and the records of `records.run`.

    Raises:
        InputError: The run `records.run` does not exist, is not done, or keeps too few records.
    """
    with transaction(engine) as connection:
        stored = runs.find(connection, config.name)
    config = config.with_control_of(Run.of(stored).config if stored is not None else None)
    return with_records_of(engine, config)
