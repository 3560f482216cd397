"""The commands `worker`, `migrate` and `stop`: the processes that a run needs."""

import os
import sys

import click
from celery.signals import worker_shutdown

from db import migrate as schema
from db import roles
from db.session import make_engine, transaction
from neurogloss.config.settings import with_driver
from neurogloss.errors import InputError
from orchestrator.cli.run_lookup import open_engine
from orchestrator.environment import (
    Environment,
    check_schema,
    find_environment,
    home_folder,
    upgrade_schema,
)
from orchestrator.local.services import services_running, stop_services
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

    surroundings = find_environment()
    os.environ.update(
        DATABASE_URL=surroundings.settings.database_url,
        NEUROGLOSS_LEASE_SECONDS=str(surroundings.settings.lease_s),
    )
    app.conf.broker_url = surroundings.settings.redis_url
    os.environ["REDIS_URL"] = surroundings.settings.redis_url
    exit_with_parent()
    _wait_for_database(surroundings)
    pool = ["-P", "solo"] if kind == "gpu" else ["-P", "threads", "-c", str(concurrency)]
    called = name or f"{kind}-{os.getpid()}"
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "INFO"]
    codes: list[int] = []  # Celery tells its exit code nobody else
    worker_shutdown.connect(lambda sender, **_: codes.append(sender.exitcode or 0), weak=False)
    app.worker_main(["worker", "-Q", kind, "-n", f"{called}@%h", *pool, *quiet])
    sys.exit(max(codes, default=0))


def _wait_for_database(surroundings: Environment) -> None:
    """Return when the database answers and has this schema.

    Raises:
        InputError: It has another one.
    """
    engine = make_engine(with_driver(surroundings.settings.database_url))
    retry_while_db_down(lambda: check_schema(engine))
    engine.dispose()


@click.command()
@click.option(
    "--roles", "with_roles", is_flag=True, help="Also make the roles of deploy/README.md."
)
def migrate(with_roles: bool) -> None:
    """Bring the database to the schema of this version.

    With --roles, as an owner who may make roles: also the roles neurogloss_orchestrator, _worker
    and _reader, with the passwords in ORCHESTRATOR_DB_PASSWORD, WORKER_DB_PASSWORD and
    READER_DB_PASSWORD, and no more rights than each needs.
    """
    passwords = _passwords() if with_roles else {}
    url = os.environ.get("DATABASE_URL")
    if url:
        upgrade_schema(url)
    else:
        open_engine()
    click.echo(f"the database is at schema {schema.head()}")
    if with_roles:
        with transaction(open_engine()) as connection:
            roles.apply_roles(connection, passwords)
        click.echo(f"roles: {', '.join(roles.PREFIX + role for role in roles.ROLES)}")


def _passwords() -> dict[str, str]:
    names = {role: f"{role.upper()}_DB_PASSWORD" for role in roles.ROLES}
    missing = [name for name in names.values() if not os.environ.get(name)]
    if missing:
        raise InputError(f"not set: {', '.join(missing)}")
    return {role: os.environ[name] for role, name in names.items()}


@click.command()
def stop() -> None:
    """Stop the embedded Postgres and Redis."""
    stopped = stop_services(home_folder()) if any(services_running(home_folder()).values()) else []
    click.echo(f"stopped {' and '.join(stopped)}" if stopped else "nothing was running")
