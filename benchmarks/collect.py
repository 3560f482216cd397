"""What collect costs beside the bare forward pass, on random weights and random tokens.

    python benchmarks/collect.py                            three ways, alternating, as a ratio
    python benchmarks/collect.py --only ours --model-shape xl-count --excerpts 2000

Each way runs in a process of its own, so that its peak memory is its own. `stock` is `GPT2Model` of
Hugging Face as shipped; `naive` adds what one writes first: a hook that keeps the top records of
each batch; `ours` is all steps of collect, with persistence into an embedded Postgres.
"""

import argparse
import json
import math
import multiprocessing
import resource
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SHAPES = {
    "tiny": {"n_layer": 4, "n_embd": 128, "n_head": 4},
    "gpt2": {"n_layer": 12, "n_embd": 768, "n_head": 12},
    "gpt2-xl": {"n_layer": 48, "n_embd": 1600, "n_head": 25},
    "xl-count": {"n_layer": 48, "n_embd": 64, "n_inner": 6400, "n_head": 4, "vocab_size": 2000},
}
TOKENS, BATCH, TOP = 64, 32, 20
NO_YARDSTICKS = {
    "connections": {"neurons": 0, "tokens": 0},
    "scoring": {"baselines": False},
}


def main() -> None:
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="neurogloss-benchmark-"))
    folder.chmod(0o755)  # as root, Postgres runs under another account
    try:
        _in_process(_save_model, options, folder)
        found: dict[str, list[dict[str, float]]] = {}
        for _ in range(options.rounds):
            for name in options.only or WAYS:
                result = _in_process(WAYS[name], options, folder)
                print(name, json.dumps(result), flush=True)
                found.setdefault(name, []).append(result)
        _print_table(found)
    finally:
        shutil.rmtree(folder)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model-shape", choices=SHAPES, default="tiny")
    parser.add_argument("--layers", type=int, help="in place of those of the shape")
    parser.add_argument("--excerpts", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--yardsticks", action="store_true", help="connections and baselines too")
    parser.add_argument("--device", default="cpu", help="of `stock` and `naive`; `ours` is auto")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--only", action="append", choices=WAYS)
    return parser.parse_args()


def _in_process(way: Callable[..., dict[str, float]], *arguments: object) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(way, send, *arguments))
    process.start()
    send.close()
    try:
        return dict(receive.recv())
    finally:
        process.join()


def _run(way: Callable[..., dict[str, float]], send: object, *arguments: object) -> None:
    result = way(*arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    send.send({**result, "peak_mb": round(peak)})  # type: ignore[attr-defined]


def _save_model(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    import torch
    from transformers import GPT2Config, GPT2Model

    torch.manual_seed(0)
    layers = {"n_layer": options.layers} if options.layers else {}
    GPT2Model(GPT2Config(**{**SHAPES[options.model_shape], **layers})).save_pretrained(
        folder / "model"
    )
    return {}


def _tokens(folder: Path, n: int) -> np.ndarray:
    config = json.loads((folder / "model" / "config.json").read_text())
    return np.random.default_rng(0).integers(0, config["vocab_size"], (n, TOKENS), dtype=np.int32)


def _forward(options: argparse.Namespace, folder: Path, hook: object = None) -> dict[str, float]:
    import torch
    from transformers import GPT2Model

    dtype = getattr(torch, options.dtype)
    model = GPT2Model.from_pretrained(folder / "model", dtype=dtype).eval().to(options.device)
    if hook is not None:
        for block in model.h:
            block.mlp.act.register_forward_hook(hook(TOP))
    tokens = torch.from_numpy(_tokens(folder, options.excerpts).astype(np.int64))
    with torch.inference_mode():
        model(input_ids=tokens[:BATCH].to(options.device))
        started = time.perf_counter()
        for start in range(0, options.excerpts, BATCH):
            model(input_ids=tokens[start : start + BATCH].to(options.device))
        if options.device.startswith("cuda"):
            torch.cuda.synchronize()
    return {"seconds": round(time.perf_counter() - started, 2)}


class _TopRecords:
    """Running top records of a layer with their activations: a hook with `topk`."""

    def __init__(self, n_kept: int) -> None:
        self.n_kept, self.best, self.kept = n_kept, None, None

    def __call__(self, module: object, args: object, output: object) -> None:
        import torch

        maxima = output.amax(1).T  # (neuron, excerpt)
        rows = output.permute(2, 0, 1)  # (neuron, excerpt, token)
        if self.best is not None:
            maxima = torch.cat([self.best, maxima], dim=1)
            rows = torch.cat([self.kept, rows], dim=1)
        self.best, places = maxima.topk(min(self.n_kept, maxima.shape[1]), dim=1)
        self.kept = rows.gather(1, places[:, :, None].expand(-1, -1, rows.shape[2]))


def stock(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    return _forward(options, folder)


def naive(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    return _forward(options, folder, _TopRecords)


def ours(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    from db import migrate
    from db.session import make_engine
    from neurogloss.config.settings import with_driver
    from neurogloss.subject.host_memory import keep_freed_memory
    from orchestrator.local.services import start_services, stop_services

    keep_freed_memory()  # as a GPU worker does
    home = Path(tempfile.mkdtemp(prefix="home-", dir=folder))
    home.chmod(0o755)
    try:
        url = with_driver(start_services(home / "services").database_url)
        migrate.upgrade(url)
        engine = make_engine(url)
        result = _collect(engine, options, folder)
        engine.dispose()
        return result
    finally:
        stop_services(home / "services")


def _collect(engine: object, options: argparse.Namespace, folder: Path) -> dict[str, float]:
    from worker.side_shards import SideShards
    from worker.stages.collect import side_steps

    run_id, n_neurons = _make_run(engine, options, folder)
    worker = _Worker(engine, run_id)
    worker.load(_tokens(folder, BATCH))  # as for the others: the model is loaded and warm
    stop = threading.Event()
    started = time.perf_counter()
    side = SideShards(engine, side_steps(), worker.do, stop)
    side.begin()
    worker.work()
    seconds = time.perf_counter() - started
    stop.set()
    side.end()
    return {
        "seconds": round(seconds, 2),
        **worker.steps(),
        "bytes_per_neuron": _stored(engine) // n_neurons,
    }


class _Worker:
    """Does the shards of a run as a GPU worker does, without messages."""

    def __init__(self, engine: object, run_id: int) -> None:
        self._engine, self._run_id = engine, run_id
        self._times: dict[str, list[tuple[float, float]]] = {}

    def load(self, tokens: np.ndarray) -> None:
        from neurogloss.subject.model import forward
        from worker.stages.forward_pass import subject_of

        shard = _claim(self._engine, self._ready())
        forward(subject_of(shard), tokens)
        with self._engine.begin() as connection:
            connection.exec_driver_sql("UPDATE shard SET state = 'ready' WHERE state = 'leased'")

    def do(self, shard_id: int) -> bool:
        from worker.stages.collect import collect

        shard = _claim(self._engine, shard_id)
        if shard is None:
            return False
        started = time.perf_counter()
        collect(shard)
        self._times.setdefault(shard.claim.step, []).append((started, time.perf_counter()))
        return True

    def work(self) -> None:
        """Do shards until none is open any more."""
        while (shard_id := self._ready()) != 0:
            if shard_id is None or not self.do(shard_id):
                time.sleep(0.02)  # the thread beside has the last one

    def steps(self) -> dict[str, float]:
        """Return the seconds from the start of each step's first shard to the end of its last.

        They overlap where shards of two steps were done at the same time.
        """
        return {
            step: round(max(end for _, end in times) - min(start for start, _ in times), 2)
            for step, times in self._times.items()
        }

    def _ready(self) -> int | None:
        """Return a shard that is ready; None while the last ones are under way, 0 after them."""
        from sqlalchemy import text

        from db import shard_readiness
        from db.session import transaction

        with transaction(self._engine) as connection:
            shard_readiness.open_ready(connection, self._run_id)
            query = text("""
                SELECT min(id) FILTER (WHERE state = 'ready'), count(*) FROM shard
                WHERE stage = 'collect' AND state <> 'done'
            """)
            ready, n_open = connection.execute(query).one()
        return ready if n_open else 0


def _claim(engine: object, shard_id: int) -> object:
    from db import runs, shards
    from db.session import transaction
    from neurogloss.config.run import RunConfig
    from worker.shard import ClaimedShard, Lease

    with transaction(engine) as connection:
        claim = shards.claim(connection, shard_id, "benchmark", 36_000)
        if claim is None:
            return None
        run = runs.get(connection, claim.run_id)
    config = RunConfig.model_validate(run.config)
    return ClaimedShard(engine, claim, run, config, Lease(threading.Event(), math.inf))


def _make_run(engine: object, options: argparse.Namespace, folder: Path) -> tuple[int, int]:
    from db import corpora, runs
    from db.session import transaction
    from neurogloss.config.run import RunConfig
    from neurogloss.subject.shape import read_shape
    from orchestrator.runs.plan import make_plan

    model = str(folder / "model")
    config = RunConfig.model_validate(
        {
            "name": "benchmark",
            "subject": {"model": model, "dtype": options.dtype},
            "corpus": {"excerpts": options.excerpts, "excerpt_tokens": TOKENS},
            "endpoints": {"openai": {"base_url": "http://127.0.0.1:9/v1"}},
            **({} if options.yardsticks else NO_YARDSTICKS),
        }
    )
    shape = read_shape(model)
    plan = make_plan(config, shape)
    tokens = _tokens(folder, options.excerpts)
    with transaction(engine) as connection:
        corpus = {
            "digest": "benchmark",
            "vocabulary_id": corpora.save_vocabulary(connection, "benchmark", ["?"]),
            "source": "random tokens",
            "n_excerpts": len(tokens),
            "excerpt_tokens": TOKENS,
            "n_documents": 1,
            "n_documents_too_short": 0,
            "n_windows": len(tokens),
        }
        rows = (("random", n * TOKENS, row.tobytes()) for n, row in enumerate(tokens))
        run = {
            "name": config.name,
            "config": config.model_dump(mode="json"),
            "config_hash": config.digest(),
            "corpus_id": corpora.save_corpus(connection, corpora.NewCorpus(**corpus), rows),
            "n_layers": shape.n_layers,
            "neurons_per_layer": shape.neurons_per_layer,
        }
        run_id = runs.create(connection, runs.NewRun(**run))
        neurons = plan.neuron_rows()
        runs.save_plan(
            connection, run_id, neurons=neurons, shards=plan.shards, totals=plan.totals()
        )
    return run_id, plan.n_neurons


def _stored(engine: object) -> int:
    """Return what all that collect writes takes on disk, once Postgres has tidied up."""
    from sqlalchemy import text

    tables = ("neuron_records", "collect_part", "collect_maxima", "collect_bound")
    with engine.connect() as connection:  # type: ignore[attr-defined]
        connection.execution_options(isolation_level="AUTOCOMMIT")
        for table in tables:
            connection.execute(text(f"VACUUM {table}"))
        sizes = [
            connection.scalar(text(f"SELECT pg_total_relation_size('{table}')")) for table in tables
        ]
    return sum(sizes)


def _print_table(found: dict[str, list[dict[str, float]]]) -> None:
    base = [result["seconds"] for result in found.get("stock", [])]
    print("\n| way | seconds (median) | of stock | peak MB |\n|---|---|---|---|")
    for name, results in found.items():
        seconds = [result["seconds"] for result in results]
        ratios = [mine / its for mine, its in zip(seconds, base, strict=False)]
        ratio = f"{statistics.median(ratios):.2f}" if ratios else "-"
        peak = max(result["peak_mb"] for result in results)
        print(f"| {name} | {statistics.median(seconds):.1f} | {ratio} | {peak:.0f} |")


WAYS = {"stock": stock, "naive": naive, "ours": ours}

if __name__ == "__main__":
    main()
