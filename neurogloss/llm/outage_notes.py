"""Notes in Redis that an endpoint is away: whoever follows a run can say what it waits for."""

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

from redis import Redis
from redis import asyncio as redis_asyncio
from redis.exceptions import RedisError

KEPT_S = 150  # longer than the longest wait between two attempts, each of which renews the note
_TIMEOUT_S = 2.0  # notes are for people, and nothing may wait for them longer


def _key(base_url: str) -> str:
    # By address, since two runs may have different names for one endpoint.
    return f"away:{hashlib.sha256(base_url.rstrip('/').encode()).hexdigest()[:16]}"


def redis_address(url: str) -> str:
    """Return the address of a Redis as its client writes it; Celery has words for sockets."""
    if not url.startswith("redis+socket://"):
        return url
    return url.replace("redis+socket://", "unix://", 1).replace("virtual_host=", "db=", 1)


class NoteWriter:
    """Writes notes. Belongs to an event loop. A note that cannot be written is left out."""

    def __init__(self, redis: "redis_asyncio.Redis") -> None:
        self._redis = redis
        self._tasks: set[asyncio.Task[None]] = set()

    def write(self, base_url: str, reason: str | None) -> None:
        """Note why an endpoint is away; None: it is back."""
        task = asyncio.get_running_loop().create_task(self._write(_key(base_url), reason))
        # asyncio itself keeps only a weak reference, and a task without another one may disappear.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, key: str, reason: str | None) -> None:
        try:
            if reason is None:
                await self._redis.delete(key)
            else:
                await self._redis.set(key, reason, ex=KEPT_S)
        except (RedisError, OSError):
            return


class NoteReader:
    """Reads the notes about some endpoints.

    Args:
        redis_url: As Celery writes it.
        base_urls: Of the endpoints, by name.
    """

    def __init__(self, redis_url: str, base_urls: Mapping[str, str]) -> None:
        self._redis = Redis.from_url(redis_address(redis_url), socket_timeout=_TIMEOUT_S)
        self._names, urls = list(base_urls), base_urls.values()
        self._keys = [_key(url) for url in urls]

    def read(self) -> dict[str, str]:
        """Return why endpoints are away, by name; nothing while Redis cannot be reached."""
        if not self._keys:
            return {}
        try:
            found: list[Any] = self._redis.mget(self._keys)
        except (RedisError, OSError):
            return {}
        pairs = zip(self._names, found, strict=True)
        return {name: bytes(value).decode(errors="replace") for name, value in pairs if value}

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()
