"""A seeded 1 % of a whole job's neurons through the call engine, beside what `estimate` had said.

    python benchmarks/full_model.py --keep --no-exports      prints the folder that it keeps
    python benchmarks/sampled_calls.py FOLDER

The sample is explained and simulated anew on the records of that job, by the rehearsal server under
the limits of a paid API. Its answers are made up: calls, tokens, cost and time are compared.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from surroundings import rehearsal_server

NEUROGLOSS = [sys.executable, "-m", "orchestrator"]
MEASURED = "SELECT * FROM run_cost WHERE run = 'sampled-calls'"


def main() -> None:
    options = _options()
    config = options.folder / "sampled-calls.toml"
    with rehearsal_server(
        *("--latency-ms", str(options.latency_ms), "--latency-jitter-ms", str(options.latency_ms)),
        *("--requests-per-minute", str(options.requests_per_minute)),
        *("--tokens-per-minute", str(options.tokens_per_minute)),
    ) as server:
        config.write_text(_configuration(options, server.base_url))
        try:
            estimate = _json(options.folder, "estimate", str(config))
            began = time.time()
            ended = _json(options.folder, "run", str(config), "--local-workers", "gpu=1,api=1")
            seconds = time.time() - began
            cost = _json(options.folder, "sql", MEASURED)
        finally:
            subprocess.run([*NEUROGLOSS, "stop"], env=_env(options.folder), capture_output=True)
    print(json.dumps({"estimate": estimate, "run": ended, "s": round(seconds, 1), "cost": cost}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path, help="kept by full_model.py")
    parser.add_argument("--per-layer", type=int, default=64, help="neurons of each layer")
    parser.add_argument("--latency-ms", type=float, default=500, help="of a call, up to twice that")
    parser.add_argument("--requests-per-minute", type=int, default=10_000)
    parser.add_argument("--tokens-per-minute", type=int, default=10_000_000)
    return parser.parse_args()


def _env(folder: Path) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL")}
    return inherited | {"NEUROGLOSS_HOME": str(folder / "home")}


def _json(folder: Path, *arguments: str) -> Any:
    done = subprocess.run(
        [*NEUROGLOSS, *arguments, "--json"],
        env=_env(folder),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout)


def _configuration(options: argparse.Namespace, base_url: str) -> str:
    return f"""
name = "sampled-calls"
[records]
run = "full"
[neurons]
per_layer = {options.per_layer}
[explainer]
endpoint = "rehearsal"
model = "rehearsal"
[simulator]
kind = "json"
endpoint = "rehearsal"
model = "rehearsal"
[scoring]
control = 0.01
baselines = false
[connections]
neurons = 0
tokens = 0
[endpoints.rehearsal]
base_url = "{base_url}"
requests_per_minute = {options.requests_per_minute}
tokens_per_minute = {options.tokens_per_minute}
max_in_flight = 256
[endpoints.rehearsal.prices.rehearsal]
input = 0.15
cached_input = 0.075
output = 0.60
"""


if __name__ == "__main__":
    main()
