"""The embedded Postgres and Redis of a home folder, for commands without configured servers."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.local import postgres, redis_server
from orchestrator.local.account import make_private_folder, server_account
from orchestrator.local.errors import ServiceError
from orchestrator.local.postgres import Postgres
from orchestrator.local.redis_server import RedisServer

LONGEST_SOCKET_PATH = 103  # bytes; the limit of macOS, 4 less than that of Linux
# Not TMPDIR: two commands may have different values of it, but must find the same sockets.
TEMPORARY = Path("/tmp")


@dataclass(frozen=True, slots=True)
class ServiceUrls:
    """The URLs of the embedded services, on unix sockets that only their user can open."""

    database_url: str
    redis_url: str

    @property
    def redis_client_url(self) -> str:
        """The URL in the form that redis-py reads; `redis_url` is in Celery's form."""
        return "unix" + self.redis_url.removeprefix("redis+socket")


@dataclass(frozen=True, slots=True)
class Services:
    """The two servers of one home folder."""

    postgres: Postgres
    redis: RedisServer

    @classmethod
    def of(cls, home: Path) -> "Services":
        """Return the services of `home`, which must exist and be absolute."""
        account = server_account(home)
        sockets = socket_folder(home)
        return cls(
            Postgres(home / "postgres", sockets, account),
            RedisServer(home / "redis", sockets, account),
        )


def start_services(home: Path) -> ServiceUrls:
    """Start Postgres, with a database, and Redis, with their data in `home`, if they do not run.

    They outlive this process, until `stop_services`.

    Raises:
        ServiceError: A service did not start; its message ends with the last lines of its log.
    """
    with _home_lock(home, create=True) as folder:
        services = Services.of(folder)
        make_private_folder(services.postgres.sockets, services.postgres.account)
        services.postgres.start()
        services.redis.start()
        return ServiceUrls(services.postgres.url, services.redis.url)


def stop_services(home: Path) -> list[str]:
    """Stop the running services of `home`; return the names of those that were stopped.

    Raises:
        ServiceError: A service could not be stopped.
    """
    if not home.is_dir():
        return []
    with _home_lock(home) as folder:
        services = Services.of(folder)
        # Postgres last: it has the state of all runs, Redis only messages that can be sent again.
        stopped = ["redis"] if services.redis.stop() else []
        stopped += ["postgres"] if services.postgres.stop() else []
        with suppress(OSError):
            services.postgres.sockets.rmdir()
        return stopped


def services_running(home: Path) -> dict[str, bool]:
    """Return for each service of `home` whether it runs; wait while one is being started.

    Raises:
        ServiceError: The folder belongs to another user.
    """
    if not home.is_dir():
        return {"postgres": False, "redis": False}
    with _home_lock(home) as folder:
        services = Services.of(folder)
        return {
            "postgres": services.postgres.is_running(),
            "redis": services.redis.is_running(),
        }


def socket_folder(home: Path) -> Path:
    """Return the folder for the sockets of `home`: deterministic, and with a path short enough."""
    inside = home / "sockets"
    longest = max(postgres.SOCKET_NAME, redis_server.SOCKET_NAME, key=len)
    if len(os.fsencode(inside / longest)) <= LONGEST_SOCKET_PATH:
        return inside
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return TEMPORARY / f"neurogloss-{digest}"


@contextmanager
def _home_lock(home: Path, *, create: bool = False) -> Iterator[Path]:
    """Hold the lock for starting and stopping services in `home`; yield its absolute path."""
    folder = home.resolve()
    try:
        if create:
            folder.mkdir(parents=True, exist_ok=True)
        with server_account(folder).open_to_append(folder / "services.lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    except OSError as error:
        raise ServiceError(
            f"the home folder {folder} cannot be used: {error}; "
            "set NEUROGLOSS_HOME to a folder of your own"
        ) from error
