"""The settings of a process, read from environment variables once at its start."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from neurogloss.errors import InputError

_DATABASES = ("postgresql", "postgres", "postgresql+psycopg2")
_BROKERS = ("redis", "rediss", "redis+socket")
_LONGEST_LEASE_S = 86_400  # a lease of more than a day would keep a dead worker's shards that long

DEVICE = "NEUROGLOSS_DEVICE"  # names the variable with the device that a GPU worker uses
GPU_INDEX = "NEUROGLOSS_GPU_INDEX"  # names the index, from 0, of the GPU that a worker uses


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Addresses of the services, and the length of a shard's lease; see `.env.example`.

    Attributes:
        spool: Folder of answers that the database does not take before a worker ends.
    """

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    lease_s: float = 120.0
    spool: Path = Path(".neurogloss/spool")

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the settings from environment variables.

        Raises:
            InputError: A variable is missing or malformed. No message quotes an address, which may
                hold a password.
        """
        missing = sorted({"DATABASE_URL", "REDIS_URL"} - {k for k, v in env.items() if v})
        if missing:
            raise InputError(f"not set: {', '.join(missing)}")
        database = "postgresql://USER:PASSWORD@HOST:5432/DATABASE"
        _check_address("DATABASE_URL", env["DATABASE_URL"], _DATABASES, database)
        _check_address("REDIS_URL", env["REDIS_URL"], _BROKERS, "redis://:PASSWORD@HOST:6379/0")
        redis_url = with_database(env["REDIS_URL"].strip())
        _check_authorities(redis_url)
        return cls(
            database_url=with_driver(env["DATABASE_URL"]),
            redis_url=with_verified_server(redis_url),
            lease_s=_lease(env.get("NEUROGLOSS_LEASE_SECONDS", "120")),
            spool=_spool(env),
        )


def _check_address(variable: str, url: str, schemes: tuple[str, ...], example: str) -> None:
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in schemes and bool(parts.port != 0)
    except ValueError:  # such as a port that is no number
        is_right = False
    if not is_right:
        raise InputError(f"{variable} is not an address such as {example}")


def _lease(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < _LONGEST_LEASE_S:
        raise InputError(
            f"NEUROGLOSS_LEASE_SECONDS = {text[:40]!r} is not a number of seconds between 0 and "
            f"{_LONGEST_LEASE_S:,}"
        )
    return seconds


def _spool(env: Mapping[str, str]) -> Path:
    folder = env.get("NEUROGLOSS_SPOOL") or Path(env.get("NEUROGLOSS_HOME", ".neurogloss"), "spool")
    return Path(folder).absolute()


def _check_authorities(redis_url: str) -> None:
    """Raise InputError if the file with certificates that a Redis is checked by cannot be read."""
    path = dict(parse_qsl(urlsplit(redis_url).query)).get("ssl_ca_certs")
    if path is None:
        return
    try:
        Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"REDIS_URL: ssl_ca_certs = {path!r} cannot be read") from error


def with_database(redis_url: str) -> str:
    """Return a URL that names the same database to Celery and to the client of Redis.

    They read it from different places: Celery from the path, or from `virtual_host` for a socket,
    the client from the path or `db`. So it is written where Celery reads it;
    `outage_notes.redis_address` writes it for the client.

    Raises:
        InputError: The database is no number, or two are named.
    """
    parts = urlsplit(redis_url)
    values = dict(parse_qsl(parts.query))
    is_socket = parts.scheme == "redis+socket"
    named = {values.pop(name) for name in ("db", "virtual_host") if name in values}
    named |= set() if is_socket else {parts.path.strip("/")} - {""}
    number = next(iter(named), "")
    if len(named) > 1 or (number and not (number.isascii() and number.isdecimal())):
        raise InputError("REDIS_URL: the database is one number, as in redis://HOST:6379/0")
    if is_socket and number:
        values["virtual_host"] = number
    path = parts.path if is_socket or not number else f"/{number}"
    query = f"?{urlencode(values)}" if values else ""
    return f"{parts.scheme}://{parts.netloc}{path}{query}"


def with_verified_server(redis_url: str) -> str:
    """Return a URL with which Redis has to prove who it is, wherever it is reached by TLS.

    Celery would take any certificate for `rediss://` unless the URL says how it is to be checked,
    which Celery and the client of Redis spell in two ways: theirs in common is written here.
    """
    if not redis_url.startswith("rediss://"):
        return redis_url
    address, _, query = redis_url.partition("?")
    values = dict(parse_qsl(query))
    checked = values.get("ssl_cert_reqs", "required").lower().removeprefix("cert_")
    return f"{address}?{urlencode({**values, 'ssl_cert_reqs': checked})}"


def with_driver(url: str) -> str:
    """Return a database URL that names psycopg2: without it, SQLAlchemy 2.1 takes psycopg 3."""
    for short in ("postgresql://", "postgres://"):
        if url.startswith(short):
            return "postgresql+psycopg2://" + url.removeprefix(short)
    return url
