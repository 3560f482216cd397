"""Spending no more than a run may, over all workers, without asking for every call.

A process holds a part of the budget, which the store has set aside for it, and asks for more when
that is used up. The parts shrink with what is left. In the end a call waits for what others hold,
and the budget is reached when nothing is held any more and the next call does not fit.
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from neurogloss.errors import BudgetReached

ASK_EVERY_S = 0.2  # while waiting for what others hold


@dataclass(frozen=True, slots=True)
class BudgetHold:
    """What a process has set aside: infinite for a run without a budget.

    `elsewhere` is what other processes hold, and `spent` and `limit` are of the whole run.
    """

    usd: float
    elsewhere: float
    spent: float
    limit: float


class BudgetStore(Protocol):
    """Where parts of the budget are set aside. Called from threads."""

    def hold(self, out: float, wanted: float) -> BudgetHold:
        """Set aside `out`, for calls under way, and `wanted` more, or as much as there is.

        Where not even `wanted` is left, `out` alone is held.
        """


class Budget:
    """The part of a run's budget that one process holds. Belongs to an event loop."""

    def __init__(self, store: BudgetStore) -> None:
        self._store = store
        self._left = 0.0  # of what is held, without what is under way
        self._out = 0.0
        self._calls_out = 0
        self._paid = 0.0  # since the store was asked last
        self._asking = asyncio.Lock()

    def renew(self) -> None:
        """Ask again before the next call: the budget may be another one."""
        self._left = 0.0

    async def reserve(self, usd: float) -> None:
        """Set aside what a call may cost at most.

        Raises:
            BudgetReached: The budget may not cover it, and nothing is under way anywhere.
        """
        if self._left < usd or self._asking.locked():
            async with self._asking:  # in turn, so that a cheap call does not overtake a dear one
                while self._left < usd:
                    await self._ask(usd)
        self._left -= usd
        self._out += usd
        self._calls_out += 1

    def settle(self, reserved: float, paid: float) -> None:
        """Replace what was reserved for a call by what it cost."""
        self._calls_out -= 1
        self._out = self._out - reserved if self._calls_out else 0.0  # no rest of rounding
        self._left += reserved - paid
        self._paid += paid

    async def _ask(self, usd: float) -> None:
        out, idle, self._paid = self._out, self._calls_out == 0, 0.0
        held = await asyncio.to_thread(self._store.hold, out, usd)
        self._left = held.usd - self._out - self._paid
        if held.usd >= out + usd:
            return
        if idle and held.elsewhere <= 0:
            raise BudgetReached(
                f"the budget of {held.limit:.2f} USD is reached ({held.spent:.2f} USD spent)"
            )
        await asyncio.sleep(ASK_EVERY_S)
