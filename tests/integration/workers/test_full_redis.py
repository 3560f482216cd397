"""A Redis without memory for anything new, which refuses even what workers acknowledge."""

import time

import pytest
from redis import Redis

from orchestrator.dispatch import tick
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.paid_run import KEY, LEASE_S, NEURONS, Run

FULL_FOR_S = 6.0  # shards in progress end meanwhile


@pytest.fixture
def memory_of_redis(services):
    """A function that limits the memory of Redis, in bytes; 0 is no limit."""
    with Redis.from_url(services.redis_client_url) as client:
        yield lambda n_bytes: client.config_set("maxmemory", n_bytes)
        client.config_set("maxmemory", 0)


def test_a_worker_outlives_a_redis_that_is_full(engine, workers, memory_of_redis):
    with RehearsalServer(RehearsalOptions(api_key=KEY, latency_ms=1000)) as server:
        run = Run(engine, server)
        workers.start("one")
        deadline = time.monotonic() + 60
        while server.stats()["requests"] <= run.probes:
            assert time.monotonic() < deadline, workers.logs()
            tick(engine, run.id, LEASE_S)
            time.sleep(0.1)
        memory_of_redis(1)
        time.sleep(FULL_FOR_S)
        assert workers.processes["one"].poll() is None, workers.logs()
        memory_of_redis(0)
        assert run.follow() == "done"
    assert run.scored() == NEURONS
