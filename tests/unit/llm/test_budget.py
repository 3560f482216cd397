"""What a process may spend of a budget, where what it holds may expire."""

import asyncio

import pytest

from neurogloss.errors import BudgetReached
from neurogloss.llm.budget import Budget, BudgetHold


class Store:
    """A budget of 10 USD, of which others take what a hold that expired set aside."""

    def __init__(self):
        self.elsewhere, self.is_valid, self.asked = 0.0, True, 0

    def hold(self, reserved, wanted):
        self.asked += 1
        self.is_valid = True
        left = 10.0 - self.elsewhere
        usd = left if reserved + wanted <= left else reserved
        return BudgetHold(usd, 0.0, self.elsewhere, 10.0, lambda: self.is_valid)


def test_a_hold_that_has_expired_is_not_spent():
    store = Store()

    async def spend():
        budget = Budget(store)
        await budget.reserve(1.0)
        budget.settle(1.0, 0.0)
        await budget.reserve(1.0)
        assert store.asked == 1
        budget.settle(1.0, 0.0)
        # The process was frozen, and others have spent the budget meanwhile.
        store.is_valid, store.elsewhere = False, 9.5
        with pytest.raises(BudgetReached):
            await budget.reserve(1.0)
        await budget.reserve(0.5)
        assert store.asked == 3

    asyncio.run(spend())


def test_a_call_that_costs_nothing_asks_for_no_budget():
    store = Store()
    store.is_valid = False

    async def spend():
        await Budget(store).reserve(0.0)

    asyncio.run(spend())
    assert store.asked == 0
