"""The budget of a run, which all workers together do not exceed, without a query for each call.

A process holds a part of the budget, which the store has set aside for it, and asks for more when
that is used up. The parts shrink with what is left. In the end a call waits for what other
processes hold. The budget is reached when nothing is held any more and the next call does not fit.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from neurogloss.errors import BudgetReached

ASK_EVERY_S = 0.2  # while a call waits for what other processes hold


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class BudgetHold:
    """What a process holds, in USD; infinite for a run without a budget.

    Attributes:
        elsewhere: Held by other processes.
        spent: By the whole run.
        limit: Of the whole run.
        is_valid: Returns whether the store still sets it aside: a process may have been frozen.
    """

    usd: float
    elsewhere: float
    spent: float
    limit: float
    is_valid: Callable[[], bool] = _always


class BudgetStore(Protocol):
    """Sets parts of the budget aside. Its method is called from threads."""

    def hold(self, reserved: float, wanted: float) -> BudgetHold:
        """Set aside `reserved`, for calls in flight, and at least `wanted` more, if it is left.

        Where `wanted` is not left, `reserved` alone is held.
        """


class Budget:
    """The part of a run's budget that one process holds, in USD. Belongs to an event loop."""

    def __init__(self, store: BudgetStore) -> None:
        self._store = store
        self._free = 0.0  # held, and not reserved
        self._reserved = 0.0
        self._calls_in_flight = 0
        self._paid = 0.0  # since the store was asked last
        self._asking = asyncio.Lock()
        self._is_valid: Callable[[], bool] = _always

    def renew(self) -> None:
        """Ask the store again before the next call: the budget of the run may have changed."""
        self._free = 0.0

    async def reserve(self, usd: float) -> None:
        """Reserve the most that a call may cost.

        Raises:
            BudgetReached: The budget may not cover it, and nothing is in flight in any process.
        """
        if self._lacks(usd) or self._asking.locked():
            async with self._asking:  # in turn, so that a cheap call does not overtake a dear one
                while self._lacks(usd):
                    await self._ask(usd)
        self._free -= usd
        self._reserved += usd
        self._calls_in_flight += 1

    def _lacks(self, usd: float) -> bool:
        """Return whether the store has to be asked before so much may be spent."""
        return self._free < usd or (usd > 0 and not self._is_valid())

    def settle(self, reserved: float, paid: float) -> None:
        """Replace what was reserved for a call by what it cost."""
        self._calls_in_flight -= 1
        # Exactly 0 after the last call: rounding errors would add up over millions of calls.
        self._reserved = self._reserved - reserved if self._calls_in_flight else 0.0
        self._free += reserved - paid
        self._paid += paid

    async def _ask(self, usd: float) -> None:
        reserved, is_idle, self._paid = self._reserved, self._calls_in_flight == 0, 0.0
        hold = await asyncio.to_thread(self._store.hold, reserved, usd)
        # Calls were settled while the store was asked: it does not know yet what they cost.
        self._free = hold.usd - self._reserved - self._paid
        self._is_valid = hold.is_valid
        if hold.usd >= reserved + usd:
            return
        # What is held for calls in flight may come back, of other processes too: until then, wait.
        if is_idle and hold.elsewhere <= 0:
            raise BudgetReached(
                f"the budget of {hold.limit:.2f} USD is reached ({hold.spent:.2f} USD spent)"
            )
        await asyncio.sleep(ASK_EVERY_S)
