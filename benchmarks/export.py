"""Exports of a run that is made up: neurons per second and peak memory of each format.

    python benchmarks/export.py --layers 12 --neurons 3072
    python benchmarks/export.py --layers 12 --neurons 768     # memory: beside a fourth of them

Everything is random numbers in the amounts of a run on GPT-2 small: 50,000 excerpts of 64 tokens,
20 top, 20 random and 25 quantile records, 10 simulations with distributions. Memory is that of
the largest process, the parent or one that writes.
"""

import argparse
import json
import multiprocessing
import resource
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from surroundings import services

TOKENS, VOCABULARY, EXCERPTS = 64, 50_257, 50_000
TOP, RANDOM, PER_BUCKET, SCORED = 20, 20, 5, 5
N_RECORDS = TOP + RANDOM + 5 * PER_BUCKET
FORMATS = ("openai", "neuronpedia", "parquet")

Place = tuple[int, int, int]  # run, layer, neuron


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--neurons", type=int, default=3072, help="of a layer")
    parser.add_argument("--processes", type=int, nargs="+", default=[2])
    parser.add_argument("--only", action="append", choices=FORMATS)
    parser.add_argument("--import", dest="imports", action="store_true", help="and import openai")
    options = parser.parse_args()
    with services() as urls, tempfile.TemporaryDirectory(prefix="neurogloss-export-") as folder:
        found = _in_process(_fill, urls.database_url, options.layers, options.neurons)
        print("filled", json.dumps(found), flush=True)
        for name in options.only or FORMATS:
            for processes in options.processes:
                root = Path(folder) / f"{name}-{processes}"
                found = _in_process(_export, urls.database_url, name, root, processes)
                print(name, json.dumps(found), flush=True)
                if name == "openai" and options.imports:
                    found = _in_process(_import, urls.database_url, root)
                    print("import", json.dumps(found), flush=True)
                    options.imports = False
                shutil.rmtree(root)


def _in_process(function: Any, *arguments: Any) -> Any:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, function, arguments))
    process.start()
    found = receiver.recv()
    process.join()
    return found


def _send(sender: Any, function: Any, arguments: Any) -> None:
    sender.send(function(*arguments))


def _peak_mb() -> float:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return round(max(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1024, 1)


def _export(url: str, name: str, root: Path, processes: int) -> dict[str, Any]:
    from db.session import make_engine
    from orchestrator.datasets.export import export

    done = export(make_engine(url), 1, name, root, processes)
    peak_mb = _peak_mb()  # of the export, not of the look at what it left
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    return {
        "processes": processes,
        "neurons": done.neurons,
        "seconds": round(done.seconds, 1),
        "neurons_per_s": round(done.neurons / done.seconds),
        "bytes_a_neuron": size // done.neurons,
        "files": done.files,
        "peak_mb": peak_mb,
    }


def _import(url: str, root: Path) -> dict[str, Any]:
    from db.session import make_engine
    from orchestrator.datasets.imports.importer import ImportSelection, import_dataset
    from orchestrator.datasets.imports.source import FolderSource

    started = time.monotonic()
    done = import_dataset(
        make_engine(url), FolderSource(root), ImportSelection("again"), concurrency=2
    )
    seconds = time.monotonic() - started
    return {
        "neurons": done.neurons,
        "seconds": round(seconds, 1),
        "neurons_per_s": round(done.neurons / seconds),
        "peak_mb": _peak_mb(),
    }


def _fill(url: str, n_layers: int, n_neurons: int) -> dict[str, Any]:
    """Store a run; its numbers are drawn once for 64 neurons, and shifted for the others."""
    from db import corpora, imports, migrate, runs
    from db.session import make_engine, transaction
    from neurogloss.config.run import RunConfig

    started = time.monotonic()
    migrate.upgrade(url)
    engine = make_engine(url)
    config = RunConfig.model_validate(
        {
            "name": "made-up",
            "corpus": {"excerpts": EXCERPTS},
            "simulator": {"kind": "echo_logprobs"},
            "endpoints": {"openai": {"base_url": "http://127.0.0.1/v1"}},
        }
    )
    random = np.random.default_rng(0)
    texts = [f" t{number}" for number in range(VOCABULARY)]
    with transaction(engine) as connection:
        vocabulary = corpora.save_vocabulary(connection, "made up", texts)
        corpus = {
            "digest": "made up",
            "vocabulary_id": vocabulary,
            "source": "made up",
            "n_excerpts": EXCERPTS,
            "excerpt_tokens": TOKENS,
            "n_documents": EXCERPTS,
            "n_documents_too_short": 0,
            "n_windows": EXCERPTS,
        }
        tokens = random.integers(0, VOCABULARY, (EXCERPTS, TOKENS), dtype=np.int32)
        excerpts = ((str(n), 0, row.tobytes()) for n, row in enumerate(tokens))
        run = {
            "name": config.name,
            "config": config.model_dump(mode="json"),
            "config_hash": config.digest(),
            "corpus_id": corpora.save_corpus(connection, corpora.NewCorpus(**corpus), excerpts),
            "n_layers": n_layers,
            "neurons_per_layer": n_neurons,
        }
        run_id = runs.create(connection, runs.NewRun(**run))
    for layer in range(n_layers):
        for first in range(0, n_neurons, 64):
            neurons = range(first, min(first + 64, n_neurons))
            with transaction(engine) as connection:
                imports.save(connection, _rows(run_id, layer, neurons, random))
    with transaction(engine) as connection:
        imports.finish(connection, run_id)
    return {"neurons": n_layers * n_neurons, "seconds": round(time.monotonic() - started, 1)}


def _rows(run_id: int, layer: int, neurons: range, random: Any) -> dict[str, list[Any]]:
    """Return rows of neurons, by the kinds of `db.datasets.STORED`."""
    from db.results import ExplanationRow, ScoreRow

    rows: dict[str, list[Any]] = defaultdict(list)
    for neuron in neurons:
        place = (run_id, layer, neuron)
        chosen = random.choice(EXCERPTS, N_RECORDS, replace=False).tolist()
        rows["records"].append(_records(place, chosen, random))
        rows["explanations"].append(ExplanationRow(*place, " a made-up explanation.", "made up"))
        rows["simulations"] += _simulations(place, chosen, random)
        rows["scores"].append(ScoreRow(*place, 0.5, 0.6, 0.4, 0.1, 0.1, None))
        _add_connections(rows, place, random)
    return rows


def _records(place: Place, chosen: list[int], random: Any) -> Any:
    from db.records import NeuronRecordsRow

    run_id, layer, neuron = place
    true = random.standard_normal((N_RECORDS, TOKENS)).astype(np.float16)
    return NeuronRecordsRow(
        run_id=run_id,
        layer=layer,
        neuron=neuron,
        excerpts=chosen,
        activations=true,
        top_records=list(range(TOP)),
        random_records=list(range(TOP, TOP + RANDOM)),
        bucket_records=list(range(TOP + RANDOM, N_RECORDS)),
        buckets=[bucket for bucket in range(5) for _ in range(PER_BUCKET)],
        quantile_boundaries=[0.5, 1.0, 2.0, 3.0],
        max_activation=float(true[:TOP].max()),
        mean=0.0,
        variance=1.0,
        skewness=0.1,
        kurtosis=3.0,
        n_tokens=EXCERPTS * TOKENS,
        undefined_reason=None,
    )


def _simulations(place: Place, chosen: list[int], random: Any) -> Iterator[Any]:
    from db.results import SimulationRow

    top, drawn = range(TOP), range(TOP, TOP + RANDOM)
    for number in (*top[2::4][:SCORED], *drawn[1::3][:SCORED]):
        expected = random.uniform(0, 10, TOKENS).astype(np.float16)
        likely = random.dirichlet(np.full(11, 0.2), TOKENS).astype(np.float16)
        scale = "simulated_normalized_activations"
        yield SimulationRow(*place, chosen[number], expected, likely, scale, "made up")


def _add_connections(rows: dict[str, list[Any]], place: Place, random: Any) -> None:
    from db.connections import RelatedNeuronsRow, RelatedTokensRow
    from db.records import TokenMeansRow

    weights = np.sort(random.standard_normal(40))[::-1].astype(np.float32).tolist()
    tokens = np.sort(random.choice(VOCABULARY, 400, replace=False)).astype(np.int32)
    means = random.standard_normal(400).astype(np.float32)
    run_id, layer, neuron = place
    row = TokenMeansRow(
        run_id=run_id,
        layer=layer,
        neuron=neuron,
        tokens=tokens,
        means=means,
        counts=np.ones(400, np.int32),
        top_tokens=tokens[np.argsort(-means)[:50]].tolist(),
        default_mean=0.0,
    )
    rows["token_means"].append(row)
    for direction in ("upstream", "downstream"):
        named = ([0] * 40, list(range(40)), weights)
        rows["related_neurons"].append(RelatedNeuronsRow(*place, direction, *named))
    for direction in ("input", "output"):
        rows["related_tokens"].append(
            RelatedTokensRow(*place, direction, tokens[:40].tolist(), weights)
        )


if __name__ == "__main__":
    main()
