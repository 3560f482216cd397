"""What the command `orchestrate` does: begin runs, and follow every run, as a service."""

import logging
import threading
import time
from functools import partial
from pathlib import Path

from sqlalchemy import Engine

from db import runs
from db.runs import StoredRun
from db.session import transaction
from neurogloss.config.toml import read_config
from neurogloss.errors import InputError, RunError
from orchestrator.cli.follow import log_end, progress_unless_away
from orchestrator.cli.terminal.progress_log import ProgressLog
from orchestrator.environment import Environment, find_environment, home_folder, open_database
from orchestrator.every_run import follow_every_run
from orchestrator.run_loop import follow_run
from orchestrator.runs.complete import complete_config
from orchestrator.runs.create import create_or_resume
from orchestrator.runs.inputs import check_inputs
from worker.app import app
from worker.outages import retry_while_db_down

log = logging.getLogger(__name__)

TRY_EVERY_S = 30.0  # to begin a run that could not begin: its file, an endpoint or a key was wrong


def orchestrate(configs: tuple[Path, ...]) -> None:
    environment = find_environment()
    engine = open_database(environment)
    app.conf.broker_url = environment.settings.redis_url
    threading.Thread(target=_begin_all, args=(engine, configs), daemon=True).start()
    follow_every_run(engine, partial(_follow, environment, engine))


def _follow(environment: Environment, engine: Engine, run: StoredRun) -> None:
    started = time.monotonic()
    display = ProgressLog(run.name, partial(progress_unless_away, engine, run.name))
    follow_run(display, engine, environment, run, None)
    stored = retry_while_db_down(lambda: _load(engine, run.id))
    log_end(stored, time.monotonic() - started)


def _load(engine: Engine, run_id: int) -> StoredRun:
    with transaction(engine) as connection:
        return runs.get(connection, run_id)


def _begin_all(engine: Engine, configs: tuple[Path, ...]) -> None:
    """Begin runs, one after the other, until all have begun. Healthchecks see what is in the way.

    `deploy/healthcheck.py loop` reads the file `not-begun` of the state folder.
    """
    in_the_way = dict.fromkeys(configs, "")
    note = home_folder() / "not-begun"
    note.parent.mkdir(parents=True, exist_ok=True)
    while in_the_way:
        for path, known in list(in_the_way.items()):
            reason = _begin(engine, path)
            if reason is None:
                del in_the_way[path]
                continue
            in_the_way[path] = reason
            if reason != known:
                log.error("run not begun", extra={"file": str(path), "reason": reason})
        note.write_text("\n".join(in_the_way.values()), encoding="utf-8", errors="replace")
        time.sleep(TRY_EVERY_S if in_the_way else 0)


def _begin(engine: Engine, path: Path) -> str | None:
    """Create the run of a file unless it is there, and return why that was not possible.

    A run that is there gets the limits of the file; one that was cancelled stays as it is.
    """
    try:
        config = read_config(path)
        stored = retry_while_db_down(lambda: _find(engine, config.name))
        if stored is not None and stored.state == "cancelled":
            log.info("run left alone", extra={"run": stored.name, "state": stored.state})
            return None
        shape = check_inputs(config)
        config = complete_config(engine, config)
        create_or_resume(engine, config, shape, lambda: None, unpauses=False)
    except (InputError, RunError) as error:
        return str(error)
    return None


def _find(engine: Engine, name: str) -> StoredRun | None:
    with transaction(engine) as connection:
        return runs.find(connection, name)
