"""The settings of a process, read from environment variables once at its start."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

GPU_INDEX = "NEUROGLOSS_GPU_INDEX"  # names the index, from 0, of the GPU that a worker uses


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Addresses of the services, and the length of a shard's lease; see `.env.example`."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    lease_s: float = 120.0

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the settings from environment variables.

        Raises:
            ValueError: A variable is missing or malformed; the message names all that are.
        """
        missing = sorted({"DATABASE_URL", "REDIS_URL"} - {k for k, v in env.items() if v})
        if missing:
            raise ValueError(f"not set: {', '.join(missing)}")
        lease = env.get("NEUROGLOSS_LEASE_SECONDS", "120")
        try:
            lease_s = float(lease)
        except ValueError:
            raise ValueError(f"NEUROGLOSS_LEASE_SECONDS = {lease!r} is not a number") from None
        return cls(
            database_url=with_driver(env["DATABASE_URL"]),
            redis_url=env["REDIS_URL"],
            lease_s=lease_s,
        )


def with_driver(url: str) -> str:
    """Return a database URL that names psycopg2: without it, SQLAlchemy 2.1 takes psycopg 3."""
    for short in ("postgresql://", "postgres://"):
        if url.startswith(short):
            return "postgresql+psycopg2://" + url.removeprefix(short)
    return url
