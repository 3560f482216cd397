"""How long pages take for eight readers, beside a run that writes.

    NEUROGLOSS_HOME=/somewhere .venv/bin/python benchmarks/fill.py        # once: five minutes
    NEUROGLOSS_HOME=/somewhere .venv/bin/python benchmarks/pages.py --seconds 60

Each reader opens a page a second, drawn from PAGES, of a neuron that is drawn too. Meanwhile a
process stores the results of shards, `--calls` calls a second with all that follows from them: 10
simulations, a score, counters, rows of lists. What it stores is deleted at the end. A server of
pages runs in a process of its own; readers are in this one, and share the cores with all that.
"""

import argparse
import asyncio
import multiprocessing
import random
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import fill_rows
import httpx
from fill_rows import FilledLayer
from sqlalchemy import text

from db import listed_neurons, runs
from db.session import make_engine, transaction
from orchestrator.environment import find_environment

READERS, PER_SHARD, CALLS_OF_NEURON = 8, 64, 11
TEMPLATES, WORDS = 100, 50_257
MOST = 1500  # shards that are stored
ROOT = Path(__file__).parents[1]

# By what the table calls them: addresses, of which each visit draws one. `{layer}`, `{neuron}`,
# `{block}` and `{call}` are drawn too.
PAGES = {
    "runs": ["/"],
    "run": ["/runs/{run}"],
    "run as JSON": ["/runs/{run}.json"],
    "neurons, sorted": [
        "/runs/{run}/neurons",
        "/runs/{run}/neurons?layer={layer}&sort=score&desc=true",
        "/runs/{run}/neurons?sort=score&desc=true",
        "/runs/{run}/neurons?sort=gap&desc=true",
        "/runs/{run}/neurons?sort=usd",
    ],
    "neurons, filtered": [
        "/runs/{run}/neurons?layer={layer}&start={block}&stop={block_end}",
        "/runs/{run}/neurons?sort=score&score_top_min=0.8",
        "/runs/{run}/neurons?state=failed",
        "/runs/{run}/neurons?sort=usd&gap_min=0.3",
    ],
    "neurons, by words": [
        "/runs/{run}/neurons?words=vienna+comma",
        "/runs/{run}/neurons?words=punctuation&sort=score&desc=true",
        "/runs/{run}/neurons?words=estraemta",
    ],
    "neuron": ["/runs/{run}/neurons/{layer}/{neuron}"],
    "neuron as JSON": ["/runs/{run}/neurons/{layer}/{neuron}.json"],
    "call": ["/runs/{run}/calls/{call}"],
    "failures": ["/runs/{run}/failures"],
    "plots": ["/runs/{run}/plots"],
    "queries": ["/sql"],
    "texts": ["/runs/{run}/text"],
}


class Visit(NamedTuple):
    """A page that came: of which kind, from where, how long it took, and when it was asked for."""

    page: str
    address: str
    ms: float
    after_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--run", default="xl")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--calls", type=float, default=350, help="stored each second; 0 for none")
    parser.add_argument("--only", action="append", choices=PAGES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--slowest", type=int, default=0, help="visits that are named in the end")
    options = parser.parse_args()
    url = find_environment().settings.database_url
    size, calls = _run_of(url, options.run)
    _settle(url)
    with serving() as base_url, writing(url, options.calls) as written:
        chosen = {name: PAGES[name] for name in options.only or PAGES}
        visits, failed = asyncio.run(_read(base_url, options, chosen, size, calls))
        print(f"{written.value / options.seconds:.0f} calls a second were stored meanwhile\n")
    _print(visits, failed)
    for visit in sorted(visits, key=lambda visit: -visit.ms)[: options.slowest]:
        print(f"{visit.ms:.0f} ms after {visit.after_s:.1f} s: {visit.address}")


def _run_of(url: str, name: str) -> tuple[tuple[int, int], list[str]]:
    """Return the size of a run, and some identities of its calls."""
    engine = make_engine(url)
    with transaction(engine) as connection:
        run = runs.find(connection, name)
        if run is None:
            raise SystemExit(f"there is no run {name!r}: fill the database by benchmarks/fill.py")
        query = text("SELECT identity FROM call WHERE run_id = :run LIMIT 500")
        calls = [bytes(call).hex() for call in connection.scalars(query, {"run": run.id})]
    engine.dispose()
    return (run.n_layers, run.neurons_per_layer), calls


def _settle(url: str) -> None:
    """Clean up after what the last measurement deleted, which autovacuum would do beside this one.

    That reads tables, which are then in memory as those of a server in use are.
    """
    print("cleaning up after the last measurement", file=sys.stderr)
    engine = make_engine(url).execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("VACUUM (ANALYZE)"))
        connection.execute(text("CHECKPOINT"))
    engine.dispose()


@contextmanager
def serving() -> Iterator[str]:
    """Run `neurogloss serve` on a free port."""
    command = [sys.executable, "-m", "orchestrator", "serve", "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stderr is not None
        yield process.stderr.readline().split("/  ")[0]
    finally:
        process.terminate()
        process.wait()


async def _read(
    base_url: str,
    options: argparse.Namespace,
    chosen: dict[str, list[str]],
    size: tuple[int, int],
    calls: list[str],
) -> tuple[list[Visit], dict[str, int]]:
    """Return the visits of pages, and the statuses of those that did not come."""
    drawn = random.Random(options.seed)
    visits: list[Visit] = []
    failed: dict[str, int] = {}
    async with httpx.AsyncClient(base_url=base_url, timeout=30) as client:

        async def visit(name: str, address: str) -> None:
            block = 100 * drawn.randrange(max(1, size[1] // 100))
            values = {
                "run": options.run,
                "block": block,
                "block_end": block + 100,
                "layer": drawn.randrange(size[0]),
                "neuron": drawn.randrange(size[1]),
                "call": drawn.choice(calls),
            }
            address = address.format(**values)
            started = time.perf_counter()
            response = await client.get(address)
            ms = 1000 * (time.perf_counter() - started)
            if response.status_code == 200:
                visits.append(Visit(name, address, ms, started - began))
            else:
                failed[name] = response.status_code

        async def reader(number: int) -> None:
            until = time.monotonic() + options.seconds
            at = time.monotonic() + number / READERS
            while at < until:
                await asyncio.sleep(max(0.0, at - time.monotonic()))
                name = drawn.choice(list(chosen))
                await visit(name, drawn.choice(chosen[name]))
                at = max(at + 1, time.monotonic())

        began = time.perf_counter()
        for name, addresses in chosen.items():
            for address in addresses:
                await visit(name, address)  # what a first visit loads is not counted
        visits.clear()
        began = time.perf_counter()
        await asyncio.gather(*(reader(number) for number in range(READERS)))
    return visits, failed


def _print(visits: list[Visit], failed: dict[str, int]) -> None:
    times: dict[str, list[float]] = defaultdict(list)
    for visit in visits:
        times[visit.page].append(visit.ms)
    print("| page | visits | fastest ms | median | 99th percentile |\n|---|--:|--:|--:|--:|")
    for name in PAGES:
        if found := sorted(times.get(name, [])):
            highest = found[min(len(found) - 1, round(0.99 * len(found)))]
            shown = (found[0], statistics.median(found), highest)
            print(f"| {name} | {len(found)} |", *(f"{ms:.0f} |" for ms in shown))
        elif name in failed:
            print(f"| {name} | HTTP {failed[name]} | | | |")


@contextmanager
def writing(url: str, calls: float) -> Iterator[Any]:
    """Store the results of shards in a process of its own, so many calls a second."""
    context = multiprocessing.get_context("spawn")
    written, stop = context.Value("l", 0), context.Event()
    process = context.Process(target=_write, args=(url, calls, written, stop))
    if calls:
        process.start()
        while not written.value:  # it stores templates first
            time.sleep(0.1)
        written.value = 0
    try:
        yield written
    finally:
        stop.set()
        if calls:
            process.join()


def _write(url: str, calls: float, written: Any, stop: Any) -> None:
    """Store shard after shard of a run that is deleted at the end."""
    engine = make_engine(url)
    with transaction(engine) as connection:
        run_id = connection.scalar(_NEW_RUN)
        fill_rows.store_templates(
            connection, n=TEMPLATES, excerpts=1000, words=WORDS, neurons=MOST * PER_SHARD, seed=1
        )
    every = PER_SHARD * CALLS_OF_NEURON / calls
    number, due = 0, time.monotonic()
    while number < MOST and not stop.is_set():
        layer = FilledLayer(run_id, number, PER_SHARD, MOST, MOST * PER_SHARD, TEMPLATES, 64_000)
        with transaction(engine) as connection:
            connection.execute(_NEURONS, asdict(layer))
            fill_rows.add_layer(connection, layer)
            listed_neurons.renew(connection, run_id, [number])
            connection.execute(_COUNT, {"run": run_id, "n": PER_SHARD})
        number += 1
        written.value += PER_SHARD * CALLS_OF_NEURON
        due = max(due + every, time.monotonic())
        stop.wait(due - time.monotonic())
    with transaction(engine) as connection:
        fill_rows.drop_templates(connection)
        connection.execute(text("DELETE FROM run WHERE id = :run"), {"run": run_id})


_NEW_RUN = text("""
    INSERT INTO run (name, config, config_hash, corpus_id, n_layers, neurons_per_layer, created_at)
    SELECT 'written', config, config_hash, corpus_id, 1500, 64, now() FROM run ORDER BY id LIMIT 1
    RETURNING id
""")
_NEURONS = text("""
    INSERT INTO neuron (run_id, layer, neuron)
    SELECT :run, :layer, neuron FROM generate_series(0, :neurons - 1) AS neuron
""")
_COUNT = text("""
    WITH counted AS (
        INSERT INTO progress (run_id, stage, layer, total, done, last_result_at)
        VALUES (:run, 'score', 0, 96000, :n, clock_timestamp())
        ON CONFLICT (run_id, stage, layer) DO UPDATE
        SET done = progress.done + EXCLUDED.done, last_result_at = EXCLUDED.last_result_at)
    INSERT INTO throughput (run_id, stage, minute, finished)
    VALUES (:run, 'score', date_trunc('minute', clock_timestamp()), :n)
    ON CONFLICT (run_id, stage, minute)
    DO UPDATE SET finished = throughput.finished + EXCLUDED.finished
""")


if __name__ == "__main__":
    main()
