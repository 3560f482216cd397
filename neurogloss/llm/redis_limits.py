"""What all workers share of an endpoint, in Redis: its limits, and how much is in flight.

One atomic script, by the clock of Redis, reports what a process has seen and grants what it may
send. Requests and tokens are continuous buckets. They hold half a second: a server that allows
bursts of a second then never sees one, however unevenly calls travel. They fill one percent slower
than is allowed, so that a burst that slipped through is made good.

How many calls may be in flight adapts to the model, between 1 and what is configured: doubled for
each round without a fault up to the first refusal, cut by a fifth for a refusal, grown by a
twentieth for each clean round that used it. Every process leaves its number under an expiry, and
gets a share by what it has to do. All of it may be lost at any time: buckets start full, and the
processes report again.
"""

from dataclasses import dataclass, field
from typing import Protocol

import orjson
from redis.asyncio import Redis

from neurogloss.llm.endpoint import Endpoint

MOST_AT_ONCE = 256  # calls that one exchange asks for
ALIVE_S = 10.0  # a process that is not heard of so long has nothing in flight any more

_EXCHANGE = """
local BURST_S, PACE = 0.5, 0.99
local FIRST_LIMIT, CUT, GROWTH = 20, 0.8, 1.05
local CUT_EVERY_S, NO_GROWTH_S = 15, 5
local CEILING_S = 600

local ask = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = time[1] - 1.7e9 + time[2] / 1e6  -- JSON keeps 14 digits: with these, microseconds
local state = cjson.decode(redis.call('GET', KEYS[1]) or '{}')

-- In flight elsewhere, of this model and of all models of the endpoint, and the demand of everyone.
local my_demand = ask.in_flight + ask.waiting
local of_model = {in_flight = 0, demand = my_demand}
local of_all = {in_flight = 0, demand = my_demand}
local found = redis.call('HGETALL', KEYS[2])
for i = 1, #found, 2 do
  local other = cjson.decode(found[i + 1])
  if other.expires < now then
    redis.call('HDEL', KEYS[2], found[i])
  elseif found[i] ~= ask.process then
    for _, sum in ipairs(other.model == ask.model and {of_model, of_all} or {of_all}) do
      sum.in_flight = sum.in_flight + other.in_flight
      sum.demand = sum.demand + other.in_flight + other.waiting
    end
  end
end

-- Adapt the number of calls in flight.
local limit = math.min(state.limit or FIRST_LIMIT, ask.max_in_flight)
local cut_until, no_growth_until = state.cut_until or 0, state.no_growth_until or 0
local clean, peak = state.clean or 0, state.peak or 0
if ask.refused > 0 then
  if now >= cut_until then
    limit = math.max(1, limit * CUT)
    cut_until = now + math.max(CUT_EVERY_S, ask.blocked_s)
  end
  state.steady, clean, peak = true, 0, 0
elseif ask.failed > 0 then
  no_growth_until, clean, peak = now + NO_GROWTH_S, 0, 0
elseif now >= math.max(cut_until, no_growth_until) then
  clean = clean + ask.answered
  peak = math.max(peak, of_model.in_flight + ask.in_flight)
  if clean >= limit then
    if peak >= 0.8 * limit then
      local grown = state.steady and math.max(limit + 1, limit * GROWTH) or limit * 2
      limit = math.min(ask.max_in_flight, grown)
    end
    clean, peak = 0, 0
  end
end

-- Fill the buckets.
local rate, level, burst = {}, {}, {}
state.ceilings = state.ceilings or {}
for kind, configured in pairs(ask.per_second) do
  if ask.ceilings[kind] > 0 then
    state.ceilings[kind] = {per_second = ask.ceilings[kind], expires = now + CEILING_S}
  end
  rate[kind] = configured
  local ceiling = state.ceilings[kind]
  if ceiling and ceiling.expires > now then
    rate[kind] = configured > 0 and math.min(configured, ceiling.per_second) or ceiling.per_second
  end
  rate[kind] = rate[kind] * PACE
  burst[kind] = math.max(1, rate[kind] * BURST_S)
  local before = state[kind] or burst[kind]
  local returned = kind == 'tokens' and ask.refund or 0
  local filled = before + returned + (now - (state.at or now)) * rate[kind]
  level[kind] = math.min(burst[kind], filled)
end

-- Grant from the front of the queue. What is larger than the burst waits for a full bucket.
local blocked_until = math.max(state.blocked_until or 0, now + ask.blocked_s)
local slots = math.huge
for sum, most in pairs({[of_model] = math.floor(limit), [of_all] = ask.max_in_flight}) do
  local share = math.max(1, math.ceil(most * my_demand / sum.demand))
  slots = math.min(slots, math.min(share, most - sum.in_flight) - ask.in_flight)
end
local granted, wait = 0, math.max(0, blocked_until - now)
local short = function(kind, amount)
  if rate[kind] == 0 then return 0 end
  return math.max(0, math.min(amount, burst[kind]) - level[kind]) / rate[kind]
end
for _, tokens in ipairs(wait == 0 and ask.needs or {}) do
  if granted >= slots then
    wait = -1
    break
  end
  wait = math.max(short('requests', 1), short('tokens', tokens))
  if wait > 0 then break end
  level.requests, level.tokens = level.requests - 1, level.tokens - tokens
  granted = granted + 1
end

-- Remember.
state.at, state.limit, state.blocked_until = now, limit, blocked_until
for kind in pairs(rate) do state[kind] = rate[kind] > 0 and level[kind] or nil end
state.cut_until, state.no_growth_until = cut_until, no_growth_until
state.clean, state.peak = clean, peak
redis.call('SET', KEYS[1], cjson.encode(state), 'EX', 3600)
local mine = {
  model = ask.model, in_flight = ask.in_flight + granted, waiting = ask.waiting - granted,
  expires = now + ask.alive_s}
if mine.in_flight + mine.waiting > 0 then
  redis.call('HSET', KEYS[2], ask.process, cjson.encode(mine))
  redis.call('EXPIRE', KEYS[2], 3600)
else
  redis.call('HDEL', KEYS[2], ask.process)
end
local has_rates = rate.requests > 0 or rate.tokens > 0
local keeps_turns = not has_rates and slots >= 0 and now >= blocked_until
return {granted, tostring(wait), math.floor(limit), keeps_turns and 1 or 0}
"""


@dataclass(slots=True)
class Report:
    """What a process has seen of a model since its last exchange."""

    answered: int = 0
    failed: int = 0
    refused: int = 0
    refund: float = 0.0
    blocked_s: float = 0.0
    ceilings: dict[str, float] = field(default_factory=dict)

    def add(self, other: "Report") -> None:
        """Take over what another report says."""
        self.answered += other.answered
        self.failed += other.failed
        self.refused += other.refused
        self.refund += other.refund
        self.blocked_s = max(self.blocked_s, other.blocked_s)
        self.ceilings |= other.ceilings


@dataclass(frozen=True, slots=True)
class Grant:
    """How many calls may be sent; `wait_s` until the next may, None if one has to end first.

    `keeps_turns` says that another call may be sent for each that ends, because nothing but their
    number is limited, and this process has no more than its share.
    """

    calls: int
    wait_s: float | None
    most_in_flight: int
    keeps_turns: bool = False


class SharedLimits(Protocol):
    """What a limiter exchanges with the other processes."""

    async def exchange(
        self, report: Report, needs: list[int], waiting: int, in_flight: int
    ) -> Grant:
        """Report what was seen, and ask for calls of so many tokens, in order.

        Args:
            report: Counted once, even if this raises.
            needs: Tokens of the first calls that wait.
            waiting: Of all calls that wait.
            in_flight: Calls of this process that were granted and have not ended.
        """


class RedisLimits:
    """The limits of one model of an endpoint, as one process sees them."""

    def __init__(
        self,
        redis: Redis,
        endpoint: Endpoint,
        model: str,
        process: str,
        *,
        alive_s: float = ALIVE_S,
    ) -> None:
        self._redis = redis
        self._script = redis.register_script(_EXCHANGE)
        self._keys = [
            f"limits:{{{endpoint.account}}}:{model}",
            f"limits:{{{endpoint.account}}}",
        ]
        self._fixed = {
            "process": f"{process}/{model}",
            "model": model,
            "alive_s": alive_s,
            "max_in_flight": endpoint.max_in_flight,
            "per_second": {
                "requests": (endpoint.requests_per_minute or 0) / 60,
                "tokens": (endpoint.tokens_per_minute or 0) / 60,
            },
        }

    async def exchange(
        self, report: Report, needs: list[int], waiting: int, in_flight: int
    ) -> Grant:
        """Report and ask; see `SharedLimits`.

        Raises:
            RedisError: Redis is away.
        """
        ask = self._fixed | {
            "needs": needs,
            "waiting": waiting,
            "in_flight": in_flight,
            "answered": report.answered,
            "failed": report.failed,
            "refused": report.refused,
            "refund": report.refund,
            "blocked_s": report.blocked_s,
            "ceilings": {kind: report.ceilings.get(kind, 0) for kind in ("requests", "tokens")},
        }
        granted, wait, most, keeps_turns = await self._script(
            keys=self._keys, args=[orjson.dumps(ask)]
        )
        wait_s = float(wait)
        return Grant(int(granted), None if wait_s < 0 else wait_s, int(most), bool(keeps_turns))
