"""What a GPU does with collect, part by part, without a database.

    python -m benchmarks.gpu --small                  all parts, in seconds, on a CPU too
    python -m benchmarks.gpu --out DIR                all parts on the GPU, in five minutes
    python -m benchmarks.gpu --only bits --only speed

A line of JSON for each finding goes to standard output, and to DIR/results.jsonl. A part that fails
says so, and the next one begins; the exit code is 1 then.
"""

import argparse
import sys
import traceback
from pathlib import Path

import torch

from benchmarks.gpu import ceilings, precision, profiled, same, speed, tables, workers
from benchmarks.gpu.bench import PRODUCTS, Bench, release

PARTS = {
    "ceilings": ceilings.ceilings,
    "readers": same.readers,
    "token_sums": same.token_sums,
    "weights": same.weights,
    "ablation": same.ablation,
    "agreement": precision.agreement,
    "bits": precision.bits,
    "cuts": precision.cuts,
    "speed": speed.speed,
    "moments": speed.moments,
    "tables": tables.tables,
    "workers": workers.workers,
    "profile": profiled.profile,
}


def main() -> int:
    options = _options()
    bench = Bench(options.small, options.out, options.precision or PRODUCTS)
    failed = []
    for name in options.only or PARTS:
        try:
            with bench.part(name):
                PARTS[name](bench)
        except Exception:
            failed.append(name)
            bench.say("FAILED", error=traceback.format_exc()[-1500:])
        release()
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--small", action="store_true", help="tiny sizes; a CPU will do")
    parser.add_argument("--only", action="append", choices=PARTS)
    parser.add_argument("--precision", action="append", choices=PRODUCTS)
    parser.add_argument("--out", type=Path, help="a folder for results.jsonl and the profile")
    options = parser.parse_args()
    if not options.small and not torch.cuda.is_available():
        parser.error("there is no CUDA device: use --small")
    return options


if __name__ == "__main__":
    sys.exit(main())
