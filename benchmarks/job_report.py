"""What the logs and the lines of a whole job say of it, and the tables that are printed."""

import json
from collections import defaultdict
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any


def steps_of(logs: Path, steps: dict[int, str]) -> dict[str, dict[str, Any]]:
    """Return when each step began and ended, and the seconds that its shards took together."""
    found: dict[str, dict[str, Any]] = defaultdict(
        lambda: {"from": float("inf"), "to": 0.0, "busy": 0.0, "shards": 0}
    )
    for path in sorted(logs.glob("*.log")):
        for line in path.read_text().splitlines():
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("message") == "shard finished" and event["shard"] in steps:
                step = found[steps[event["shard"]]]
                ended = datetime.fromisoformat(event["timestamp"]).timestamp()
                step["from"] = min(step["from"], ended - event["seconds"])
                step["to"] = max(step["to"], ended)
                step["busy"] += event["seconds"]
                step["shards"] += 1
    return dict(sorted(found.items(), key=lambda item: item[1]["from"]))


def progress_of(lines: list[tuple[float, str]]) -> dict[str, Any]:
    """Return what the progress lines of the command were like to a person."""
    # Each line begins with its time.
    shown = [(at, line.split(" ", 1)[1]) for at, line in lines if line[20:].startswith(" collect ")]
    moved = [shown[0]] if shown else []
    for at, line in shown:
        if line != moved[-1][1]:
            moved.append((at, line))
    pauses = [b[0] - a[0] for a, b in pairwise(moved)]
    n_repeated = len(shown) - len(moved)
    return {
        "lines": len(shown),
        "repeated lines": n_repeated,
        "longest without a change, s": round(max(pauses, default=0), 1),
    }


def print_table(report: dict[str, Any]) -> None:
    print("\n| step | s | in shards, s | CPU, s | shards |\n|---|--:|--:|--:|--:|")
    for step, spent in report["steps"].items():
        values = (spent["s"], spent["in shards, s"], spent["CPU of all, s"], spent["shards"])
        print(f"| {step} | " + " | ".join(map(str, values)) + " |")
    print("\n| after, s | % of collect | told to be left, s | left, s |\n|--:|--:|--:|--:|")
    for told in report["collect"]:
        print("| " + " | ".join("-" if v is None else str(v) for v in told.values()) + " |")
