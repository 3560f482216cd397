"""What processes agree on through Redis; each `RedisLimits` here stands for a process."""

import asyncio
import time

import pytest
from redis.asyncio import Redis

from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.redis_limits import RedisLimits, Report


@pytest.fixture
def agree(services):
    """Return a function that runs a coroutine of (process, redis), with limits of its own."""

    def agree(scenario, model="m", alive_s=10.0, **limits):
        url = f"http://127.0.0.1:9/{time.monotonic_ns()}"
        endpoint = Endpoint(name="e", base_url=url, **{"max_in_flight": 16, **limits})

        async def run():
            async with Redis.from_url(services.redis_client_url) as redis:

                def process(name, model=model):
                    return RedisLimits(redis, endpoint, model, name, alive_s=alive_s)

                await scenario(process, redis)

        asyncio.run(run())

    return agree


async def granted(process, *, wants=100, in_flight=0, **seen):
    return await process.exchange(Report(**seen), [10] * wants, wants, in_flight)


def test_what_is_in_flight_is_bounded_over_all_processes_and_shared_by_need(agree):
    async def scenario(process, redis):
        a, b = process("a"), process("b")
        assert (await granted(a, wants=100)).calls == 16
        second = await granted(b)
        assert (second.calls, second.wait_s) == (0, None)
        assert (await granted(a, wants=92, in_flight=8)).calls == 0  # eight are over, and b waits
        assert (await granted(b)).calls == 8

    agree(scenario)


def test_the_bound_holds_for_all_models_of_an_endpoint_together(agree):
    async def scenario(process, redis):
        explainer, simulator = process("a", "explainer"), process("a", "simulator")
        assert (await granted(explainer, wants=10)).calls == 10
        assert (await granted(simulator, wants=10)).calls == 6

    agree(scenario)


def test_what_a_killed_process_had_in_flight_is_free_after_a_while(agree):
    async def scenario(process, redis):
        assert (await granted(process("killed"))).calls == 16
        await asyncio.sleep(0.3)
        assert (await granted(process("b"))).calls == 16

    agree(scenario, alive_s=0.2)


def test_after_a_flush_the_processes_report_again(agree):
    async def scenario(process, redis):
        a, b = process("a"), process("b")
        assert (await granted(a)).calls == 16
        await redis.flushall()
        assert (await granted(a, wants=0, in_flight=16)).calls == 0
        assert (await granted(b)).calls == 0

    agree(scenario)


def test_concurrency_doubles_while_all_is_well_and_is_cut_once_for_many_refusals(agree):
    async def scenario(process, redis):
        a = process("a")
        most = [(await granted(a)).most_in_flight]
        for _ in range(3):
            most.append((await granted(a, in_flight=most[-1], answered=most[-1])).most_in_flight)
        assert most == [20, 40, 80, 100]
        assert (await granted(a, in_flight=100, refused=5)).most_in_flight == 80
        assert (await granted(a, in_flight=80, refused=5)).most_in_flight == 80
        assert (await granted(a, in_flight=80, answered=500)).most_in_flight == 80  # not so soon

    agree(scenario, max_in_flight=100)


def test_concurrency_does_not_grow_unused_or_past_server_errors(agree):
    async def scenario(process, redis):
        a = process("a")
        assert (await granted(a, in_flight=2, answered=50)).most_in_flight == 20
        assert (await granted(a, in_flight=20, answered=50, failed=1)).most_in_flight == 20
        assert (await granted(a, in_flight=20, answered=50)).most_in_flight == 20

    agree(scenario, max_in_flight=100)


def test_limits_that_the_server_names_lower_the_configured_ones_and_never_raise_them(agree):
    async def scenario(process, redis):
        a, b = process("a"), process("b")
        assert (await granted(a, ceilings={"requests": 4.0})).calls == 1
        found = await granted(b)
        assert found.calls == 0
        assert 0 < found.wait_s <= 0.3
        await granted(a, wants=0, ceilings={"requests": 1e6})
        assert (await granted(b, wants=200)).calls <= 50

    agree(scenario, requests_per_minute=6000, max_in_flight=1000)


def test_everyone_waits_as_long_as_the_server_asks_one_of_them_to(agree):
    async def scenario(process, redis):
        a, b = process("a"), process("b")
        await granted(a, wants=0, refused=1, blocked_s=7.0)
        found = await granted(b)
        assert found.calls == 0
        assert 6 < found.wait_s <= 7

    agree(scenario)


def test_tokens_that_were_not_used_come_back(agree):
    async def scenario(process, redis):
        a = process("a")
        first = await granted(a, wants=200)
        assert first.calls == 10  # a hundred tokens: half a second
        assert (await granted(a, wants=200, in_flight=10)).calls <= 1
        assert (await granted(a, wants=200, in_flight=10, refund=50)).calls >= 5

    agree(scenario, tokens_per_minute=12_200, max_in_flight=1000)


def test_a_process_keeps_its_turns_while_their_number_is_all_that_is_limited(agree):
    async def scenario(process, redis):
        a, b = process("a"), process("b")
        assert (await granted(a)).keeps_turns
        await granted(b)  # which waits for its share
        assert not (await granted(a, in_flight=16)).keeps_turns
        assert (await granted(a, in_flight=8)).keeps_turns
        assert not (await granted(a, in_flight=8, refused=1, blocked_s=5.0)).keeps_turns

    agree(scenario)


@pytest.mark.parametrize("limit", ["requests_per_minute", "tokens_per_minute"])
def test_no_process_keeps_its_turns_under_a_limit_a_minute(agree, limit):
    async def scenario(process, redis):
        assert not (await granted(process("a"))).keeps_turns

    agree(scenario, **{limit: 100_000})


def test_a_ceiling_that_the_server_names_ends_the_keeping_of_turns(agree):
    async def scenario(process, redis):
        a = process("a")
        assert (await granted(a)).keeps_turns
        assert not (await granted(a, in_flight=16, ceilings={"requests": 100.0})).keeps_turns

    agree(scenario)
