"""Storing what an earlier worker had to leave in the spool."""

import logging
import threading
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db import runs
from db.session import is_away, transaction
from neurogloss.errors import InputError
from worker.ledger import PostgresLedger
from worker.spool import Spool

log = logging.getLogger(__name__)


class Replay:
    """Stores the answers of a spool. Safe to use from several threads and processes."""

    def __init__(self, spool: Spool, engine: Engine) -> None:
        self._spool, self._engine = spool, engine
        self._lock = threading.Lock()
        self._others: set[Path] = set()  # of runs that this database does not have

    def run(self) -> None:
        """Store all that can be stored. Answers that are stored already count nothing twice.

        Raises:
            SQLAlchemyError: The database is away; files that were not stored stay.
        """
        # Most often there are none, and no thread has to wait for the lock.
        if not self._spool.files():
            return
        with self._lock:  # whoever comes second finds all stored when it goes on
            for path in self._spool.files():
                if path not in self._others:
                    self._store(path)

    def _store(self, path: Path) -> None:
        try:
            file = self._spool.read(path)
            if file is None:
                return
            with transaction(self._engine) as connection:
                if not runs.has(connection, file.run_id, file.run):
                    self._others.add(path)
                    fields = {"run": file.run, "file": str(path)}
                    log.warning("kept answers of an unknown run", extra=fields)
                    return
                # In the order in which all transactions store calls: two orders could wait for each
                # other.
                answers = sorted(file.as_answers(), key=lambda answer: answer.identity)
                PostgresLedger(self._engine, file.run_id).save_in(connection, answers)
        except InputError as error:
            self._spool.set_aside(path, str(error))
        except SQLAlchemyError as error:
            # What the database refuses now it would refuse at every start: it is set aside for a
            # person.
            if is_away(error):
                raise
            self._spool.set_aside(path, type(error).__name__)
        else:
            self._spool.drop(path)
            log.info("kept answers stored", extra={"run": file.run, "answers": len(answers)})
