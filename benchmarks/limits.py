"""How much of a strict limit several processes use together, and how often they are refused.

    .venv/bin/python benchmarks/limits.py [--seconds 30]

The rehearsal server enforces its limits continuously, with one second of burst. The calls go
through the call engine, with Redis, and without a database. The first seconds do not count.
"""

import argparse
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from surroundings import RehearsalProcess, in_processes, rehearsal_server, services

from neurogloss.errors import Interrupted, RunError
from neurogloss.llm.budget import Budget, BudgetHold
from neurogloss.llm.call_engine import CallEngine
from neurogloss.llm.calls import Answer, Call
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.run_context import LiveLimits, RunContext

WARM_UP_S = 5.0
REQUESTS = 6_000
TOKENS = 600_000


class Nowhere:
    """Keeps nothing, has no budget and is never paused."""

    def find(self, identities: Sequence[bytes]) -> dict[bytes, Answer]:
        return {}

    def save(self, answers: Sequence[Answer]) -> None:
        return

    def hold(self, reserved: float, wanted: float) -> BudgetHold:
        return BudgetHold(float("inf"), 0.0, 0.0, float("inf"))

    def pause(self, error: RunError) -> None:
        raise error

    def is_running(self) -> bool:
        return True

    def live_limits(self, endpoint: Endpoint) -> LiveLimits | None:
        return None


def send(
    number: int, redis_url: str, base_url: str, limits: dict[str, int], seconds: float
) -> None:
    """Send as much as the limits allow for some seconds."""
    endpoint = Endpoint(name="here", base_url=base_url, max_in_flight=256, **limits)
    nowhere = Nowhere()
    context = RunContext(nowhere, Budget(nowhere), nowhere)
    engine = CallEngine(redis_url)
    stop = threading.Event()
    threading.Timer(seconds, stop.set).start()
    try:
        engine.run(
            endpoint, [_call(number, i) for i in range(round(120 * seconds))], context, stop.is_set
        )
    except Interrupted:
        engine.close()


def _call(process: int, number: int) -> Call:
    text = f"question {process} {number} " + "of many words " * (20 + number % 40)
    body = {
        "model": "rehearsal",
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 100,
    }
    return Call(purpose="benchmark", model="rehearsal", body=body)


def measure(redis_url: str, kind: str, limit: int, processes: int, seconds: float) -> str:
    """Return a row of the table."""
    option = f"--{kind}-per-minute"
    found: list[dict[str, Any]] = []
    with rehearsal_server(option, str(limit), "--latency-ms", "200") as server:
        watch = threading.Thread(target=_watch, args=(server, seconds, found))
        watch.start()
        limits = {f"{kind}_per_minute": limit}
        arguments = [
            (i, redis_url, server.base_url, limits, seconds + WARM_UP_S) for i in range(processes)
        ]
        in_processes(send, arguments)
        watch.join()
    first, last = found
    used = {key: last[key] - first[key] for key in ("answered", "requests", "refused_429")}
    tokens = sum(last[k] - first[k] for k in ("prompt_tokens", "completion_tokens"))
    amount = used["answered"] if kind == "requests" else tokens
    share = amount / (limit / 60 * (last["at"] - first["at"]))
    refused = used["refused_429"] / max(1, used["requests"])
    return f"| {kind} | {limit:,} | {processes} | {share:.1%} | {refused:.2%} |"


def _watch(server: RehearsalProcess, seconds: float, found: list[dict[str, Any]]) -> None:
    """Take the account twice, once every process has begun."""
    while not server.stats()["answered"]:
        time.sleep(0.2)
    time.sleep(WARM_UP_S)
    found.append({**server.stats(), "at": time.monotonic()})
    time.sleep(seconds - WARM_UP_S)
    found.append({**server.stats(), "at": time.monotonic()})


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    seconds = parser.parse_args().seconds
    print("| limit of | a minute | processes | used | refused |\n|---|--:|--:|--:|--:|")
    with services() as urls:
        for kind, limit in (("requests", REQUESTS), ("tokens", TOKENS)):
            for processes in parser.parse_args().processes:
                print(measure(urls.redis_client_url, kind, limit, processes, seconds), flush=True)


if __name__ == "__main__":
    main()
