"""Sharing an endpoint's limits between all workers, through Redis.

Requests and tokens are two continuous buckets of one second's capacity, charged in one atomic
script by the server's clock. A call larger than the burst puts the bucket into debt.
"""

import asyncio
import hashlib
import logging
from typing import Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker.api.endpoint import Endpoint

log = logging.getLogger(__name__)

BURST_S = 1.0
GIVE_UP_S = 300.0

_TAKE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local blocked = tonumber(redis.call('GET', KEYS[3]) or 0)
local wait = math.max(0, blocked - now)
local free = {}
for i = 1, 2 do
  local rate = tonumber(ARGV[i])
  if rate > 0 then
    local burst = rate * tonumber(ARGV[5])
    local level = redis.call('HMGET', KEYS[i], 'level', 'at')
    local filled = burst
    if level[1] then
      filled = math.min(burst, tonumber(level[1]) + (now - tonumber(level[2])) * rate)
    end
    local need = math.min(tonumber(ARGV[i + 2]), burst)
    if filled < need then wait = math.max(wait, (need - filled) / rate) end
    free[i] = filled
  end
end
if wait > 0 then return tostring(wait) end
for i = 1, 2 do
  if free[i] then
    local left = free[i] - tonumber(ARGV[i + 2])
    redis.call('HSET', KEYS[i], 'level', tostring(left), 'at', tostring(now))
    redis.call('EXPIRE', KEYS[i], 600)
  end
end
return '0'
"""

_PENALIZE = """
local time = redis.call('TIME')
local until_ = time[1] + time[2] / 1e6 + tonumber(ARGV[1])
if until_ > tonumber(redis.call('GET', KEYS[1]) or 0) then
  redis.call('SET', KEYS[1], tostring(until_), 'EX', math.ceil(tonumber(ARGV[1])) + 1)
end
"""


class Limiter(Protocol):
    """What a call waits for before it is sent."""

    async def take(self, tokens: int) -> None:
        """Wait until one request of so many tokens may be sent."""

    async def refund(self, tokens: int) -> None:
        """Give back tokens that were reserved and not used."""

    async def penalize(self, seconds: float) -> None:
        """Let nobody send anything for so long."""

    async def close(self) -> None:
        """Close what it holds open."""


class RedisLimiter:
    """One endpoint, key and model, over all processes."""

    def __init__(self, redis: Redis, key: str, requests_per_s: float, tokens_per_s: float) -> None:
        self._redis = redis
        self._keys = [f"limit:{key}:{part}" for part in ("requests", "tokens", "blocked")]
        self._rates = (requests_per_s, tokens_per_s)
        self._take = redis.register_script(_TAKE)
        self._penalize = redis.register_script(_PENALIZE)

    async def take(self, tokens: int) -> None:
        """Wait until one request of so many tokens may be sent.

        Raises:
            RedisError: Redis was away for minutes.
        """
        away = 0.0
        while True:
            try:
                arguments = [*self._rates, 1, tokens, BURST_S]
                wait = float(await self._take(keys=self._keys, args=arguments))
            except RedisError as error:
                if away >= GIVE_UP_S:
                    raise
                log.warning("limits cannot be read, waiting: %s", error)
                wait = 1.0
                away += wait
            if wait <= 0:
                return
            await asyncio.sleep(min(wait, 5.0))

    async def refund(self, tokens: int) -> None:
        """Give back tokens that were reserved and not used."""
        if self._rates[1] > 0 and tokens > 0:
            try:
                if await self._redis.exists(self._keys[1]):
                    await self._redis.hincrbyfloat(self._keys[1], "level", tokens)
            except RedisError as error:  # a bucket that is lost starts full
                log.warning("limits cannot be written: %s", error)

    async def penalize(self, seconds: float) -> None:
        """Let nobody send anything for so long."""
        try:
            await self._penalize(keys=[self._keys[2]], args=[seconds])
        except RedisError as error:
            log.warning("limits cannot be written: %s", error)

    async def close(self) -> None:
        """Close the connections to Redis."""
        await self._redis.aclose()


def limiter_for(endpoint: Endpoint, model: str, redis_url: str) -> RedisLimiter:
    """Return the limiter of an endpoint's model; the key is named by a hash of it."""
    secret = hashlib.sha256((endpoint.api_key or "").encode()).hexdigest()[:12]
    url = redis_url.replace("redis+socket://", "unix://", 1)
    return RedisLimiter(
        Redis.from_url(url, socket_timeout=10),
        f"{endpoint.name}:{secret}:{model}",
        (endpoint.requests_per_minute or 0) / 60,
        (endpoint.tokens_per_minute or 0) / 60,
    )
