"""One API worker process against a bare HTTP loop, on the same bodies and the same server.

    [IN_FLIGHT=128] [LATENCY_MS=20] .venv/bin/python benchmarks/calls.py [--rounds 3]

The worker process does real simulate shards: claims, prompts, limiter, HTTP, the ledger, parsing,
results, on an embedded Postgres and Redis. The loop posts the bodies of such a shard with httpx on
the same transport, and drops the answers. Both keep as many calls in flight at a rehearsal server
that takes so long, which has a process of its own. They alternate; the table has every round.
"""

import argparse
import asyncio
import os
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import httpx
import numpy as np
from httpx_aiohttp import AiohttpTransport
from sqlalchemy import Engine, text
from surroundings import RehearsalProcess, in_processes, rehearsal_server, services

from db import migrate, results, runs
from db.records import NeuronRecordsRow, neuron_records
from db.results import ExplanationRow
from db.session import make_engine, transaction
from neurogloss.config.run import RunConfig
from orchestrator.runs.create import create_or_resume
from orchestrator.runs.inputs import check_inputs

IN_FLIGHT = int(os.environ.get("IN_FLIGHT", "128"))
LATENCY_MS = int(os.environ.get("LATENCY_MS", "20"))
SHARDS_AT_ONCE = 4  # as `neurogloss worker api` does
WARM_UP_CALLS = 640
RECORDS = 40


def config_of(name: str, base_url: str, neurons: int, in_flight: int) -> RunConfig:
    """Return the configuration of a run on the demo model with ten simulations a neuron."""
    role = {"endpoint": "here", "model": "rehearsal"}
    return RunConfig.model_validate(
        {
            "name": name,
            "corpus": {"excerpts": 1000},
            "neurons": {"layers": [0, 1], "per_layer": neurons // 2},
            "explainer": role,
            "simulator": {"kind": "json", **role},
            "endpoints": {
                "here": {
                    "base_url": base_url,
                    "max_in_flight": in_flight,
                    "prices": {"rehearsal": {"input": 0.15, "output": 0.6}},
                }
            },
        }
    )


def make_run(engine: Engine, config: RunConfig) -> list[int]:
    """Store a run that is collected and explained, and return the shards to simulate."""
    run_id = create_or_resume(engine, config, check_inputs(config), lambda: None)
    draw = np.random.default_rng(0)
    with transaction(engine) as connection:
        neurons = [(n, i) for n in (0, 1) for i in runs.neurons_in(connection, run_id, n)]
        neuron_records.save(connection, [_records(run_id, *neuron, draw) for neuron in neurons])
        explanations = [
            ExplanationRow(run_id, *neuron, f"words of {config.name} like {neuron}", "made up")
            for neuron in neurons
        ]
        results.explanations.save(connection, explanations)
        run = {"run": run_id}
        done = "UPDATE shard SET state = 'done' WHERE run_id = :run"
        connection.execute(text(done), run)
        ready = "UPDATE shard SET state = 'ready' WHERE run_id = :run AND stage = 'simulate'"
        return list(connection.scalars(text(f"{ready} RETURNING id"), run))


def _records(run_id: int, layer: int, neuron: int, draw: np.random.Generator) -> NeuronRecordsRow:
    return NeuronRecordsRow(
        run_id=run_id,
        layer=layer,
        neuron=neuron,
        excerpts=draw.choice(1000, RECORDS, replace=False).tolist(),
        activations=draw.random((RECORDS, 64)).astype(np.float16),
        top_records=list(range(20)),
        random_records=list(range(20, RECORDS)),
        bucket_records=[],
        buckets=[],
        quantile_boundaries=[0.0] * 4,
        max_activation=1.0,
        mean=0.5,
        variance=0.1,
        skewness=None,
        kurtosis=None,
        n_tokens=64000,
        undefined_reason=None,
    )


# The worker process


class Meter:
    """CPU seconds of some functions, whichever thread runs them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what happens inside under a name."""
        started = time.thread_time()
        try:
            yield
        finally:
            self.seconds[name] += time.thread_time() - started

    def function(self, place: Any, name: str, part: str) -> None:
        """Count the calls of a function."""
        inner = getattr(place, name)

        def metered(*arguments: Any, **options: Any) -> Any:
            with self.part(part):
                return inner(*arguments, **options)

        setattr(place, name, metered)

    def coroutine(self, place: Any, name: str, part: str) -> None:
        """Count the steps of a coroutine, without what happens while it waits."""
        inner = getattr(place, name)
        meter = self

        class Steps:
            def __init__(self, *arguments: Any, **options: Any) -> None:
                self.steps = inner(*arguments, **options)

            def __await__(self) -> Generator[Any, Any, Any]:
                value, error = None, None
                while True:
                    try:
                        with meter.part(part):
                            step = self.steps.throw(error) if error else self.steps.send(value)
                    except StopIteration as end:
                        return end.value
                    try:
                        value, error = (yield step), None
                    except BaseException as caught:
                        value, error = None, caught

        setattr(place, name, lambda *arguments, **options: Steps(*arguments, **options))


def _measure_parts(meter: Meter) -> None:
    from aiohttp.client_proto import ResponseHandler

    from db import results, shards
    from neurogloss.llm.calls import Call
    from neurogloss.llm.limiter import Limiter
    from neurogloss.llm.model_client import ModelClient
    from worker import process
    from worker.ledger import PostgresLedger
    from worker.stages import simulate, simulations

    meter.function(simulations, "_call", "prompt")
    meter.function(Call, "identity", "prompt")
    meter.function(simulations, "_read", "parse")
    meter.function(PostgresLedger, "find", "persist")
    meter.function(PostgresLedger, "save", "persist")
    meter.function(results.simulations, "save", "persist")
    meter.function(shards, "finish", "persist")
    meter.function(process, "_claim", "persist")
    meter.function(simulate, "_wanted", "load")
    meter.coroutine(Limiter, "_exchange", "limiter")
    meter.coroutine(ModelClient, "post", "HTTP")
    meter.function(ResponseHandler, "data_received", "HTTP")


def do_shards(name: str, urls: tuple[str, str], shards: list[int], parts: bool) -> dict[str, Any]:
    """Do shards as a worker process does; return calls, seconds, CPU seconds, and their parts."""
    os.environ |= {"DATABASE_URL": urls[0], "REDIS_URL": urls[1]}
    from worker import process
    from worker.stages.simulate import simulate

    meter = Meter()
    if parts:
        _measure_parts(meter)
    process.start(name, "api")
    process.do_shard(shards[0], simulate)  # imports, connections, the width of the concurrency
    meter.seconds.clear()
    started, cpu = time.monotonic(), _cpu()
    with ThreadPoolExecutor(SHARDS_AT_ONCE) as pool:
        list(pool.map(lambda shard: process.do_shard(shard, simulate), shards[1:]))
    found = {"seconds": time.monotonic() - started, "cpu": _cpu() - cpu, "at": started}
    process.stop()
    return found | {"parts": dict(meter.seconds)}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# The bare loop


def post_all(base_url: str, bodies: list[bytes]) -> dict[str, Any]:
    """Post bodies with httpx, 128 at a time; return calls, seconds and CPU seconds."""
    return asyncio.run(_post_all(base_url + "/chat/completions", bodies))


async def _post_all(url: str, bodies: list[bytes]) -> dict[str, Any]:
    transport = AiohttpTransport(limits=httpx.Limits(max_connections=IN_FLIGHT))
    async with httpx.AsyncClient(transport=transport, timeout=60) as http:
        await _lanes(http, url, iter(bodies[:WARM_UP_CALLS]))
        started, cpu = time.monotonic(), _cpu()
        await _lanes(http, url, iter(bodies[WARM_UP_CALLS:]))
        return {"seconds": time.monotonic() - started, "cpu": _cpu() - cpu}


async def _lanes(http: httpx.AsyncClient, url: str, bodies: Iterator[bytes]) -> None:
    async def lane() -> None:
        for body in bodies:
            response = await http.post(
                url, content=body, headers={"Content-Type": "application/json"}
            )
            response.raise_for_status()

    await asyncio.gather(*(lane() for _ in range(IN_FLIGHT)))


def bodies_like(engine: Engine, shards: list[int], salt: str) -> list[bytes]:
    """Return the bodies of these shards, told apart from theirs by a word."""
    from db import shards as db_shards
    from worker.shard import ClaimedShard
    from worker.stages import simulate, simulations

    found: list[bytes] = []
    for shard in shards:
        with transaction(engine) as connection:
            claim = db_shards.claim(connection, shard, "bodies", 60)
            assert claim is not None
            run = runs.get(connection, claim.run_id)
        stage = ClaimedShard(engine, claim, run, RunConfig.model_validate(run.config), None)  # type: ignore[arg-type]
        simulator = simulations._simulator(stage)
        for wanted in simulate._to_simulate(stage):
            for part in simulations._parts(wanted, simulator.records_at_once):
                for question in simulator.ask(part.explanation, part.texts):
                    body = simulations._call(stage, question, part.sample).content
                    found.append(body.replace(b"words of", salt.encode() + b" of"))
        with transaction(engine) as connection:
            db_shards.release(connection, claim)
    return found


# The comparison


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--neurons", type=int, default=384)
    options = parser.parse_args()
    with services() as urls, rehearsal_server("--latency-ms", str(LATENCY_MS)) as server:
        migrate.upgrade(urls.database_url)
        engine = make_engine(urls.database_url)
        redis_and_database = (urls.database_url, urls.redis_url)
        compare = Comparison(engine, redis_and_database, server, options.neurons)
        compare.print_rounds(options.rounds)
        compare.print_parts()
        compare.print_two_processes()
        engine.dispose()


class Comparison:
    """Runs of the same size, each with bodies of its own."""

    def __init__(
        self, engine: Engine, urls: tuple[str, str], server: RehearsalProcess, neurons: int
    ) -> None:
        self._engine, self._urls, self._server, self._neurons = engine, urls, server, neurons
        self._calls = 10 * neurons - WARM_UP_CALLS
        self._made = 0

    def _run(self, neurons: int, processes: int = 1) -> list[int]:
        self._made += 1
        in_flight = processes * IN_FLIGHT
        config = config_of(f"run{self._made}", self._server.base_url, neurons, in_flight)
        return make_run(self._engine, config)

    def print_rounds(self, rounds: int) -> None:
        """Print a row for each round: calls a second and CPU of both, and their ratio."""
        print("| round | bare loop, calls/s | worker, calls/s | ratio | CPU ms, loop | worker |")
        print("|--:|--:|--:|--:|--:|--:|")
        for number in range(1, rounds + 1):
            shards = self._run(self._neurons)
            bodies = bodies_like(self._engine, shards, f"bare{number}")
            (bare,) = in_processes(post_all, [(self._server.base_url, bodies)])
            (ours,) = in_processes(do_shards, [("worker", self._urls, shards, False)])
            rates = [self._calls / found["seconds"] for found in (bare, ours)]
            cpu = [1000 * found["cpu"] / self._calls for found in (bare, ours)]
            print(
                f"| {number} | {rates[0]:.0f} | {rates[1]:.0f} | {rates[1] / rates[0]:.2f} "
                f"| {cpu[0]:.2f} | {cpu[1]:.2f} |",
                flush=True,
            )

    def print_parts(self) -> None:
        """Print where the CPU time of a call goes."""
        (found,) = in_processes(do_shards, [("worker", self._urls, self._run(self._neurons), True)])
        parts = {part: 1000 * s / self._calls for part, s in found["parts"].items()}
        total = 1000 * found["cpu"] / self._calls
        parts["the rest: tasks, event loop, threads"] = total - sum(parts.values())
        print(f"\n| part of {total:.2f} ms CPU a call, with meters | ms |\n|---|--:|")
        for part, value in parts.items():
            print(f"| {part} | {value:.3f} |")

    def print_two_processes(self) -> None:
        """Print rate and CPU of one and of two worker processes, which share twice the calls."""
        print("\n| worker processes | calls/s | CPU ms a call |\n|--:|--:|--:|")
        for count in (1, 2):
            arguments = [
                (f"worker{i}", self._urls, self._run(self._neurons, count), False)
                for i in range(count)
            ]
            found = in_processes(do_shards, arguments)
            seconds = max(f["at"] + f["seconds"] for f in found) - min(f["at"] for f in found)
            calls = count * self._calls
            cpu = 1000 * sum(f["cpu"] for f in found) / calls
            print(f"| {count} | {calls / seconds:.0f} | {cpu:.2f} |", flush=True)


if __name__ == "__main__":
    main()
