"""The limits of an endpoint in Redis, shared by all workers, and the calls in flight.

One atomic script, by the clock of Redis, takes the report of a process and grants it calls.
Requests and tokens are continuous buckets. They hold half a second: a server that allows bursts of
a second then never sees one, however unevenly calls travel. They fill one percent slower than is
allowed, so that a burst that slipped through is made good.

How many calls may be in flight adapts to the model, between 1 and what is configured: doubled for
each round without a fault up to the first refusal, cut by a fifth for a refusal, grown by a
twentieth for each clean round that used it. Every process leaves its number under an expiry, and
gets a share in proportion to its demand. All of it may be lost at any time: buckets start full, and
the processes report again.

The same exchange carries claims of calls, so that two processes do not pay for one answer. A claim
ends when its process releases it, or has not reported for `ALIVE_S`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import orjson
from redis.asyncio import Redis

from neurogloss.llm.claims import ClaimChanges
from neurogloss.llm.endpoint import Endpoint

MOST_AT_ONCE = 256  # calls that one exchange asks for
ALIVE_S = 10.0  # without a report for so long, the calls of a process count as ended

_SCRIPT = Path(__file__).with_suffix(".lua").read_text(encoding="utf-8")


@dataclass(slots=True)
class Report:
    """The calls of a process to a model since its last exchange.

    Attributes:
        answered, failed, refused: Calls that ended in an answer, a server error, a rate limit.
        refund: Tokens that were granted and not used; negative if more were used.
        blocked_s: Seconds for which the server asked to send nothing.
        ceilings: Limits per second that the server named, by kind: requests, tokens.
        claims: Of calls; `add` leaves them alone.
    """

    answered: int = 0
    failed: int = 0
    refused: int = 0
    refund: float = 0.0
    blocked_s: float = 0.0
    ceilings: dict[str, float] = field(default_factory=dict)
    claims: ClaimChanges = field(default_factory=ClaimChanges)

    def add(self, other: "Report") -> None:
        """Add another report, which could not be delivered."""
        self.answered += other.answered
        self.failed += other.failed
        self.refused += other.refused
        self.refund += other.refund
        self.blocked_s = max(self.blocked_s, other.blocked_s)
        self.ceilings |= other.ceilings


@dataclass(frozen=True, slots=True)
class Grant:
    """The calls that a process may send.

    Attributes:
        calls: How many of those that wait, from the front of the queue.
        wait_s: Seconds until the next may be sent; None if a call has to end first.
        most_in_flight: The limit by now of calls of the model in flight, over all processes.
        keeps_turns: Another call may be sent for each that ends, without an exchange: nothing but
            their number is limited, and this process has no more than its share.
        elsewhere: Of the calls that were to be claimed, those that another process has.
    """

    calls: int
    wait_s: float | None
    most_in_flight: int
    keeps_turns: bool = False
    elsewhere: set[bytes] = field(default_factory=set)


class SharedLimits(Protocol):
    """The exchange of a limiter with the other processes."""

    async def exchange(
        self, report: Report, needs: list[int], waiting: int, in_flight: int
    ) -> Grant:
        """Report what was seen, and ask for calls.

        Args:
            report: Counted once, even if this raises.
            needs: Tokens of each of the first calls that wait, in their order.
            waiting: Number of all calls that wait.
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
        self._script = redis.register_script(_SCRIPT)
        # In braces, the part of a key that a Redis cluster places it by: all go to one node.
        self._keys = [
            f"limits:{{{endpoint.account}}}:{model}",
            f"limits:{{{endpoint.account}}}",
            f"claims:{{{endpoint.account}}}",
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
            "claims": list(map(bytes.hex, report.claims.wanted)),
            "released": list(map(bytes.hex, report.claims.released)),
            "holds": report.claims.holds,
        }
        granted, wait, most, keeps_turns, elsewhere = await self._script(
            keys=self._keys, args=[orjson.dumps(ask)]
        )
        wait_s = float(wait)
        return Grant(
            int(granted),
            None if wait_s < 0 else wait_s,
            int(most),
            bool(keeps_turns),
            {bytes.fromhex(identity.decode()) for identity in elsewhere},
        )
