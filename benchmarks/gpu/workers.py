"""Two processes on one GPU: the same bits as one after the other, and their rate together."""

import multiprocessing
import time

from benchmarks.gpu.bench import Bench, digest_of_part, parts_of, plans_of

Shard = tuple[bool, int, int]


def workers(bench: Bench) -> None:
    """Collect two shards in this process, and each in one of two at the same time."""
    size = 32 if bench.small else 512
    shards = [(bench.small, 0, size), (bench.small, size, 2 * size)]
    alone = [_collect(shard) for shard in shards]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        together = pool.map(_collect, shards, chunksize=1)
    same = [digests for digests, _ in alone] == [digests for digests, _ in together]
    seconds = {
        "one_after_the_other_s": round(sum(seconds for _, seconds in alone), 2),
        "together_s": round(max(seconds for _, seconds in together), 2),
    }
    bench.say("two workers", same=same, **seconds)


def _collect(shard: Shard) -> tuple[dict[int, str], float]:
    small, start, stop = shard
    bench = Bench(small)
    model, tokens, within = bench.model("gpt2"), bench.tokens(stop)[start:], range(start, stop)
    parts_of(model, tokens, within, plans_of(model))  # to warm up
    began = time.perf_counter()
    parts = parts_of(model, tokens, within, plans_of(model))
    seconds = time.perf_counter() - began
    return {layer: digest_of_part(part) for layer, part in parts.items()}, seconds
