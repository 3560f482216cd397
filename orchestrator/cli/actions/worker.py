"""What the command `worker` does: one Celery worker."""

import gc
import logging
import os
import socket
import sys
from importlib import import_module

from celery.signals import setup_logging, worker_shutdown

from db.session import make_engine
from neurogloss.config.settings import with_driver
from orchestrator.cli.logs import set_constant_fields
from orchestrator.environment import Environment, check_schema, find_environment
from worker.app import app
from worker.outages import retry_while_db_down

# OpenMP reads them when torch is loaded. Its threads would spin while they wait for each other,
# which on a machine that does anything else takes up to ten times the work. A spin of microseconds
# costs little there, and spares many waits on quiet cores; see benchmarks/README.md.
QUIET_THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}

# After each operation of torch a thread waits so long for another one that runs Python. By default
# it is 5 ms, longer than most operations.
SWITCH_S = 0.0005


def worker(kind: str, name: str | None, concurrency: int) -> None:
    from worker.parent_watch import exit_with_parent

    # Python's own: what a worker drops holds large arrays, and must not wait for 50,000 objects.
    gc.set_threshold(700, 10, 10)
    for variable, value in QUIET_THREADS.items():
        os.environ.setdefault(variable, value)
    environment = find_environment()
    os.environ.update(
        DATABASE_URL=environment.settings.database_url,
        REDIS_URL=environment.settings.redis_url,
        NEUROGLOSS_LEASE_SECONDS=str(environment.settings.lease_s),
    )
    app.conf.broker_url = environment.settings.redis_url
    exit_with_parent()
    node = f"{name or f'{kind}-{os.getpid()}'}@{socket.gethostname()}"
    _log_as(node)
    if kind == "gpu":  # imported late, as API workers have no torch
        sys.setswitchinterval(SWITCH_S)
        import_module("neurogloss.subject.host_memory").keep_freed_memory()
        import_module("worker.stages.forward_pass").check_device()
    _wait_for_database(environment)
    # One shard at a time on a GPU, in the process that holds the model; threads wait for answers.
    pool = ["-P", "solo"] if kind == "gpu" else ["-P", "threads", "-c", str(concurrency)]
    # Postgres knows which workers live: gossip and heartbeats through Redis would say it twice.
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    # Celery tells its exit code to receivers of this signal only.
    codes: list[int] = []
    worker_shutdown.connect(lambda sender, **_: codes.append(sender.exitcode or 0), weak=False)
    app.worker_main(["--quiet", "worker", "-Q", kind, "-n", node, *pool, *quiet])
    sys.exit(max(codes, default=0))


def _log_as(node: str) -> None:
    """Log in our way, where Celery would log two lines for each task in its own."""
    set_constant_fields(worker=node)
    logging.captureWarnings(True)  # Python's, such as Celery's about root, become events too
    os.environ.setdefault("TQDM_DISABLE", "1")  # progress bars of libraries are no lines
    setup_logging.connect(lambda **_: None, weak=False)  # with a receiver, Celery sets nothing up
    # The one line of Celery that our events lack: it is connected to Redis, or is so again.
    logging.getLogger("celery.worker.consumer.connection").setLevel(logging.INFO)


def _wait_for_database(environment: Environment) -> None:
    """Return when the database answers and has this schema.

    Raises:
        InputError: It has another one.
    """
    engine = make_engine(with_driver(environment.settings.database_url))
    retry_while_db_down(lambda: check_schema(engine))
    engine.dispose()
