"""What a process needs to know about its surroundings, read once at start."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

GPU_INDEX = "NEUROGLOSS_GPU_INDEX"  # which of the host's GPUs a worker takes, from 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the services are. Leases are in seconds; see `.env.example`."""

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
    """Name our driver in a database URL: SQLAlchemy 2.1 would take psycopg 3 for the short form."""
    for short in ("postgresql://", "postgres://"):
        if url.startswith(short):
            return "postgresql+psycopg2://" + url.removeprefix(short)
    return url
