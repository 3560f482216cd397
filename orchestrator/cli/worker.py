"""The command `worker`: one Celery worker."""

import os
import sys

import click
from celery.signals import worker_shutdown

from db.session import make_engine
from neurogloss.config.settings import with_driver
from orchestrator.environment import Environment, check_schema, find_environment
from worker.app import app
from worker.outages import retry_while_db_down


@click.command()
@click.argument("kind", type=click.Choice(["gpu", "api"]))
@click.option("--name", help="How the worker is called; its host and process id unless given.")
@click.option(
    "--concurrency", default=4, show_default=True, help="Shards at once, of an api worker."
)
def worker(kind: str, name: str | None, concurrency: int) -> None:
    """Work on the queue KIND until told to stop. Needs DATABASE_URL and REDIS_URL."""
    from worker.parent_watch import exit_with_parent

    environment = find_environment()
    os.environ.update(
        DATABASE_URL=environment.settings.database_url,
        REDIS_URL=environment.settings.redis_url,
        NEUROGLOSS_LEASE_SECONDS=str(environment.settings.lease_s),
    )
    app.conf.broker_url = environment.settings.redis_url
    exit_with_parent()
    _wait_for_database(environment)
    # One shard at a time on a GPU, in the process that holds the model; threads wait for answers.
    pool = ["-P", "solo"] if kind == "gpu" else ["-P", "threads", "-c", str(concurrency)]
    node = name or f"{kind}-{os.getpid()}"
    # Postgres knows which workers live: gossip and heartbeats through Redis would say it twice.
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "INFO"]
    # Celery tells its exit code to receivers of this signal only.
    codes: list[int] = []
    worker_shutdown.connect(lambda sender, **_: codes.append(sender.exitcode or 0), weak=False)
    app.worker_main(["worker", "-Q", kind, "-n", f"{node}@%h", *pool, *quiet])
    sys.exit(max(codes, default=0))


def _wait_for_database(environment: Environment) -> None:
    """Return when the database answers and has this schema.

    Raises:
        InputError: It has another one.
    """
    engine = make_engine(with_driver(environment.settings.database_url))
    retry_while_db_down(lambda: check_schema(engine))
    engine.dispose()
