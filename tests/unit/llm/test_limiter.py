"""Whose turn it is, with exchanges that a test answers."""

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisAway

from neurogloss.llm.limiter import Limiter
from neurogloss.llm.redis_limits import Grant


class Shared:
    """Grants two calls once, and says whether turns are kept. Answers while `answers` is set."""

    def __init__(self, *, keeps_turns):
        self.keeps_turns = keeps_turns
        self.left = 2
        self.answers = asyncio.Event()
        self.answers.set()
        self.is_asked = False

    async def exchange(self, report, needs, waiting, in_flight):
        self.is_asked = True
        await self.answers.wait()
        granted, self.left = self.left, 0
        return Grant(min(granted, len(needs)), None, 2, self.keeps_turns)


async def waiting(limiter, n):
    """Return tasks that wait for their turns, of which two have got theirs."""
    tasks = [asyncio.create_task(limiter.acquire(1)) for _ in range(n)]
    await asyncio.wait(tasks, timeout=1, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(0)
    return tasks


def with_turn(tasks):
    return [task.done() and not task.cancelled() for task in tasks]


def run(scenario, *, keeps_turns=True):
    async def closing():
        limiter = Limiter(Shared(keeps_turns=keeps_turns))
        tasks = await waiting(limiter, 4)
        assert with_turn(tasks) == [True, True, False, False]
        await scenario(limiter, tasks)
        for task in tasks:
            task.cancel()
        await limiter.close()

    asyncio.run(closing())


def test_a_call_that_ends_hands_its_turn_to_the_next():
    async def scenario(limiter, tasks):
        limiter.release(answered=1)
        await asyncio.sleep(0)
        assert with_turn(tasks) == [True, True, True, False]

    run(scenario)


def test_who_waits_no_more_is_passed_over():
    async def scenario(limiter, tasks):
        tasks[2].cancel()
        await asyncio.sleep(0)
        limiter.release(answered=1)
        await asyncio.sleep(0)
        assert with_turn(tasks) == [True, True, False, True]

    run(scenario)


def test_who_is_passed_over_during_an_exchange_may_be_granted_a_turn_by_it():
    async def scenario(limiter, tasks):
        shared = limiter.shared
        shared.answers.clear()
        shared.is_asked = False
        limiter.release(answered=1)  # the third begins, and an exchange for the fourth
        async with asyncio.timeout(1):
            while not shared.is_asked:
                await asyncio.sleep(0.001)
        tasks[3].cancel()
        await asyncio.sleep(0)
        limiter.release(answered=1)  # passes over the fourth
        fifth = asyncio.create_task(limiter.acquire(1))
        await asyncio.sleep(0)
        shared.left = 1
        shared.answers.set()
        async with asyncio.timeout(1):
            await fifth
        assert with_turn(tasks) == [True, True, True, False]

    run(scenario)


@pytest.mark.parametrize("end", [{"refused": 1}, {"failed": 1}])
def test_after_a_refusal_or_a_fault_the_others_are_asked_first(end):
    async def scenario(limiter, tasks):
        limiter.release(**end)
        limiter.release(answered=1)
        await asyncio.sleep(0)
        assert with_turn(tasks) == [True, True, False, False]

    run(scenario)


@pytest.mark.parametrize(("news", "value"), [("block", 5.0), ("lower", {"requests": 1.0})])
def test_what_the_server_asks_for_ends_it(news, value):
    async def scenario(limiter, tasks):
        getattr(limiter, news)(value)
        limiter.release(answered=1)
        await asyncio.sleep(0)
        assert with_turn(tasks) == [True, True, False, False]

    run(scenario)


def test_turns_that_are_not_kept_come_with_the_next_exchange():
    async def scenario(limiter, tasks):
        limiter.release(answered=1)
        await asyncio.sleep(0)
        assert with_turn(tasks) == [True, True, False, False]
        limiter.shared.left = 1
        await asyncio.wait([tasks[2]], timeout=1)
        assert with_turn(tasks) == [True, True, True, False]

    run(scenario, keeps_turns=False)


class Away:
    """A Redis that cannot be reached."""

    async def exchange(self, report, needs, waiting, in_flight):
        raise RedisAway("nobody there")


def test_while_redis_is_away_every_claim_is_ours():
    async def scenario():
        limiter = Limiter(Away())
        async with asyncio.timeout(1):
            assert await limiter.claim([b"question"]) == set()
        limiter.release_claims([b"question"])
        await limiter.close()

    asyncio.run(scenario())
