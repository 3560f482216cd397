"""A seeded 1 % of a whole job's neurons through the call engine, beside what `estimate` had said.

    python benchmarks/full_model.py --keep --no-exports      prints the folder that it keeps
    python benchmarks/sampled_calls.py FOLDER

The sample is explained and simulated anew on the records of that job, by the rehearsal server with
limits like those of a paid API. Every twelfth layer comes first: `estimate` counts its tokens by
rules. For the other layers it goes by what these have taken. Answers are made up: calls, tokens,
cost and time are compared.
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
SPENT = """
    SELECT sum(calls)::int AS calls, sum(prompt_tokens)::int AS prompt_tokens,
           sum(completion_tokens)::int AS completion_tokens, sum(usd)::float AS usd
    FROM run_cost WHERE run = '{}'
"""


def main() -> None:
    options = _options()
    layers = json.loads((options.folder / "subject" / "config.json").read_text())["n_layer"]
    first = range(0, layers, options.first_every)
    rest = [layer for layer in range(layers) if layer not in first]
    with rehearsal_server(
        *("--model", options.model),
        *("--latency-ms", str(options.latency_ms), "--latency-jitter-ms", str(options.latency_ms)),
        *("--requests-per-minute", str(options.requests_per_minute)),
        *("--tokens-per-minute", str(options.tokens_per_minute)),
    ) as server:
        runs = [_Run(options, server.base_url, list(first)), _Run(options, server.base_url, rest)]
        try:
            report = [{"estimate": run.estimate(), **run.run()} for run in runs]
        finally:
            stop = [*NEUROGLOSS, "stop"]
            subprocess.run(stop, env=_env(options.folder), check=False, capture_output=True)
    print(json.dumps(report, indent=1))


class _Run:
    """A run of 64 neurons, or as many as are asked for, of each of some layers."""

    def __init__(self, options: argparse.Namespace, base_url: str, layers: list[int]) -> None:
        self._folder = options.folder
        self._latency_s = str(1.5 * options.latency_ms / 1000)  # in the middle of once and twice
        self._name = f"{options.model}-{len(layers)}-layers"
        self._config = options.folder / f"{self._name}.toml"
        self._config.write_text(_configuration(options, self._name, base_url, layers))

    def estimate(self) -> dict[str, Any]:
        """Return what is said beforehand."""
        said = _json(self._folder, "estimate", str(self._config), "--latency-s", self._latency_s)
        return {key: said[key] for key in ("neurons", "measured_on", "total")}

    def run(self) -> dict[str, Any]:
        """Return what it took."""
        began = time.time()
        ended = _json(self._folder, "run", str(self._config), "--local-workers", "gpu=1,api=1")
        measured = SPENT.format(self._name)
        return {
            "reason": ended["reason"],
            "s": round(time.time() - began, 1),
            **_json(self._folder, "sql", measured)[0],
        }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path, help="kept by full_model.py")
    parser.add_argument("--per-layer", type=int, default=64, help="neurons of each layer")
    parser.add_argument("--first-every", type=int, default=12, help="layers of the first run")
    parser.add_argument("--model", default="rehearsal", help="another one asks everything anew")
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


def _configuration(options: argparse.Namespace, name: str, base_url: str, layers: list[int]) -> str:
    return f"""
name = "{name}"
[records]
run = "full"
[neurons]
layers = {layers}
per_layer = {options.per_layer}
[explainer]
endpoint = "rehearsal"
model = "{options.model}"
[simulator]
kind = "json"
endpoint = "rehearsal"
model = "{options.model}"
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
[endpoints.rehearsal.prices."{options.model}"]
input = 0.15
cached_input = 0.075
output = 0.60
"""


if __name__ == "__main__":
    main()
