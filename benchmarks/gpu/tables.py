"""What lookup tables take beside the pass over the corpus, for one layer."""

import numpy as np
import torch

from benchmarks.gpu.bench import TOKENS, Bench
from neurogloss.subject.lookup_tables import predictions, tables_without, top_of_tables

_RECORDS, _AT_ONCE = 10, 64


def tables(bench: Bench) -> None:
    """Measure the steps for 64 neurons, in milliseconds, with a vocabulary of 50,257."""
    n = 4 if bench.small else _AT_ONCE
    sums = torch.rand((bench.vocabulary, n), dtype=torch.float64, device=bench.device)
    counts = torch.randint(100, 1000, (bench.vocabulary,), device=bench.device)
    tokens = np.random.default_rng(0).integers(0, bench.vocabulary, (n, _RECORDS * TOKENS))
    own = torch.from_numpy(tokens).to(bench.device)
    left_out = torch.full(own.shape, 0.5, dtype=torch.float64, device=bench.device)
    made = tables_without(sums, counts, own, left_out)
    steps = {
        "tables": lambda: tables_without(sums, counts, own, left_out),
        "top tokens": lambda: top_of_tables(made, 50),
        "predictions": lambda: predictions(made, own),
        "whole tables to the host": lambda: (made.means.cpu(), made.counts.cpu()),
    }
    found = {name: round(bench.seconds(step) * 1e3, 2) for name, step in steps.items()}
    bench.say("ms of 64 neurons", **found)
