"""The whole job at the neuron count of GPT-2 XL, by the real command, with figures for each part.

    python benchmarks/full_model.py                                  48 x 6,400 neurons
    python benchmarks/full_model.py --layers 6 --neurons 1600        the same in minutes
    python benchmarks/full_model.py --kill-at 50                     kill -9 of all of it, once

The subject has random weights and a narrow residual stream: its forward pass costs little, so that
all that follows the number of neurons shows. Explainer and simulator are `lookup`, connections and
baselines are on, and every neuron is explained, simulated and scored.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from job_report import print_table, progress_of, steps_of
from watched import WatchedProcesses, Watcher, processes_of

NEUROGLOSS = [sys.executable, "-m", "orchestrator"]
QUERIES = ("run_progress", "run_cost", "failure_summary", "worker_status", "layer_progress",
           "step_progress")  # fmt: skip
EVERY_S = 30.0  # between two looks at what is told of the time left


def main() -> None:
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="neurogloss-full-"))
    folder.chmod(0o755)  # as root, Postgres runs under another account
    try:
        report = _Job(options, folder).measure()
        print(json.dumps(report, indent=1))
        print_table(report)
    finally:
        subprocess.run([*NEUROGLOSS, "stop"], env=_env(folder), check=False, capture_output=True)
        if options.keep:
            print("kept:", folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--layers", type=int, default=48)
    parser.add_argument("--neurons", type=int, default=6400, help="of each layer")
    parser.add_argument("--width", type=int, default=64, help="of the residual stream")
    parser.add_argument("--excerpts", type=int, default=2000)
    parser.add_argument("--per-shard", type=int, help="neurons, in place of the default")
    parser.add_argument("--workers", default="gpu=1,api=1")
    parser.add_argument("--kill-at", type=float, help="per cent of scores; all is killed once")
    parser.add_argument("--no-exports", action="store_true")
    parser.add_argument("--no-verify", action="store_true")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the database")
    return parser.parse_args()


def _env(folder: Path) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL")}
    return inherited | {"NEUROGLOSS_HOME": str(folder / "home"), "NEUROGLOSS_LOG_FORMAT": "json"}


class _Job:
    """One run of the command, from a subject on disk to its exports."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._options, self._folder = options, folder
        self._home, self._config = folder / "home", folder / "full.toml"
        self._lines: list[tuple[float, str]] = []
        self._course: list[tuple[float, float, float | None]] = []

    def measure(self) -> dict[str, Any]:
        """Do all of it, and return what was found."""
        _save_subject(self._options, self._folder / "subject")
        self._config.write_text(_configuration(self._options, self._folder / "subject"))
        report: dict[str, Any] = {"estimate": self._json("estimate", str(self._config))["total"]}
        watcher = Watcher(self._home, self._look)
        began = time.time()
        report |= self._run()
        report["seconds"] = round(time.time() - began, 1)
        watcher.stop()
        report |= self._of_run(watcher.seen, began)
        report["progress"] = progress_of(self._lines)
        report["collect"] = self._course_of_collect(began)
        report["status"] = self._status()
        if not self._options.no_verify:
            report["verify"] = self._timed("verify", "full")
        if not self._options.no_exports:
            for name in ("openai", "neuronpedia", "parquet"):
                to = self._folder / name
                report[f"export {name}"] = self._timed(
                    "export", "full", "--format", name, "--to", str(to)
                )
                shutil.rmtree(to, ignore_errors=True)
        return report

    def _run(self) -> dict[str, Any]:
        command = self._start()
        if self._options.kill_at is None:
            return {"exit code": command.wait()}
        while command.poll() is None and self._scored() < self._options.kill_at:
            time.sleep(0.5)
        return self._killed(command)

    def _killed(self, command: "subprocess.Popen[str]") -> dict[str, Any]:
        """Kill everything, start again, and return how long the first new result took."""
        for _, process in list(processes_of(self._home)):
            with suppress(psutil.Error):  # it went with its parent
                process.kill()
        command.wait()
        killed_at = time.time()
        command = self._start()
        before: float | None = None
        while command.poll() is None:
            scored = self._scored()
            before = scored if before is None and scored >= 0 else before
            if before is not None and scored > before:
                break
            time.sleep(0.2)
        first = time.time() - killed_at
        return {"first new result, s": round(first, 1), "exit code": command.wait()}

    def _start(self) -> "subprocess.Popen[str]":
        arguments = ["run", str(self._config), "--local-workers", self._options.workers]
        command = subprocess.Popen(
            [*NEUROGLOSS, *arguments],
            env=_env(self._folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, args=(command,), daemon=True).start()
        return command

    def _read(self, command: "subprocess.Popen[str]") -> None:
        assert command.stdout is not None
        for line in command.stdout:
            self._lines.append((time.time(), line.rstrip()))
            print(f"{time.strftime('%H:%M:%S')} {line.rstrip()}", file=sys.stderr, flush=True)

    def _scored(self) -> float:
        """Return the per cent of neurons that are scored; -1 where the database is away."""
        try:
            query = "SELECT percent::float AS p FROM run_progress WHERE stage = 'score'"
            return float(self._query(query)[0]["p"])
        except Exception:
            return -1

    def _query(self, query: str) -> list[dict[str, Any]]:
        from sqlalchemy import NullPool, create_engine, text

        from orchestrator.local.services import Services

        engine = create_engine(Services.of(self._home).postgres.url, poolclass=NullPool)
        with engine.connect() as connection:
            return [dict(row) for row in connection.execute(text(query)).mappings()]

    def _look(self) -> tuple[int, float]:
        query = """
            SELECT percent::float, extract(epoch FROM eta)::float AS eta FROM run_progress
            WHERE stage = 'collect'
        """
        for row in self._query(query):
            self._course.append((time.time(), row["percent"], row["eta"]))
        query = "SELECT extract(epoch FROM now() - min(heartbeat_at))::float AS s FROM worker"
        return self._database_bytes(), self._query(query)[0]["s"] or 0.0

    def _database_bytes(self) -> int:
        return int(self._query("SELECT pg_database_size(current_database()) AS n")[0]["n"])

    def _json(self, *arguments: str) -> Any:
        done = subprocess.run(
            [*NEUROGLOSS, *arguments, "--json"],
            env=_env(self._folder),
            check=True,
            capture_output=True,
            text=True,
        )
        return json.loads(done.stdout)

    def _timed(self, *arguments: str) -> dict[str, Any]:
        began = time.perf_counter()
        done = psutil.Popen(
            [*NEUROGLOSS, *arguments], env=_env(self._folder), stdout=subprocess.DEVNULL
        )
        code = done.wait()
        seconds = time.perf_counter() - began
        per_second = self._options.layers * self._options.neurons / seconds
        return {"s": round(seconds, 1), "neurons/s": round(per_second), "exit code": code}

    def _status(self) -> dict[str, Any]:
        processes = []
        for _ in range(5):
            began = time.perf_counter()
            self._json("status", "full")
            processes.append(time.perf_counter() - began)
        queries = {}
        for view in QUERIES:
            plan = self._query(f"EXPLAIN (ANALYZE, FORMAT json) SELECT * FROM {view}")  # noqa: S608  (constants)
            queries[view] = plan[0]["QUERY PLAN"][0]["Execution Time"]
        return {"process, ms": round(1000 * min(processes)), "queries, ms": queries}

    def _of_run(self, seen: WatchedProcesses, began: float) -> dict[str, Any]:
        steps = steps_of(self._home / "logs", self._steps_of_shards())
        rows = self._rows()
        n_neurons = self._options.layers * self._options.neurons
        end = self._database_bytes()
        return {
            "neurons": n_neurons,
            "CPU, s": seen.cpu_between(began, time.time()),
            "planned after, s": round(min(s["from"] for s in steps.values()) - began, 1),
            "steps": {
                step: {
                    "s": round(spent["to"] - spent["from"], 1),
                    "in shards, s": round(spent["busy"], 1),
                    "shards": spent["shards"],
                    "CPU of all, s": round(
                        sum(seen.cpu_between(spent["from"], spent["to"]).values()), 1
                    ),
                }
                for step, spent in steps.items()
            },
            "rows": rows,
            "peak MB": {kind: round(peak) for kind, peak in sorted(seen.peaks.items())},
            "database MB": {
                "end": end >> 20,
                "peak": max(size for _, size, _ in seen.sizes) >> 20,
                "WAL peak": max(wal for _, _, wal in seen.sizes) >> 20,
            },
            "bytes a neuron": end // n_neurons,
            "longest silence of a worker, s": round(seen.longest_silence_s, 1),
        }

    def _steps_of_shards(self) -> dict[int, str]:
        query = "SELECT id, CASE stage WHEN 'collect' THEN step ELSE stage END AS step FROM shard"
        return {row["id"]: row["step"] for row in self._query(query)}

    def _course_of_collect(self, began: float) -> list[dict[str, float | None]]:
        """Return what was told of collect, twice a minute, beside what was left in truth."""
        ended = next((at for at, percent, _ in self._course if percent == 100), time.time())
        told, due = [], began
        for at, percent, eta in self._course:
            if due <= at < ended:
                due = at + EVERY_S
                told.append(
                    {
                        "after, s": round(at - began),
                        "%": percent,
                        "told, s": None if eta is None else round(eta),
                        "left, s": round(ended - at),
                    }
                )
        return told

    def _rows(self) -> dict[str, int]:
        tables = ("neuron_records", "related_neurons", "related_tokens", "token_means",
                  "baseline_score", "explanation", "simulation", "score", "failure")  # fmt: skip
        return {
            table: self._query(f"SELECT count(*) AS n FROM {table}")[0]["n"]  # noqa: S608
            for table in tables
        }


def _save_subject(options: argparse.Namespace, folder: Path) -> None:
    """Save a random subject, with the tokenizer of the demo."""
    code = f"""
import torch
from transformers import GPT2Config, GPT2Model
torch.manual_seed(0)
GPT2Model(GPT2Config(vocab_size=4096, n_positions=64, n_embd={options.width}, n_head=4,
          n_inner={options.neurons}, n_layer={options.layers}, initializer_range=0.2,
          bos_token_id=0, eos_token_id=0)).save_pretrained({str(folder)!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    from neurogloss.subject.files import DEMO_FOLDER

    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DEMO_FOLDER / name, folder)


def _configuration(options: argparse.Namespace, subject: Path) -> str:
    return f"""
name = "full"
[subject]
model = {json.dumps(str(subject))}
[corpus]
source = "python-docs"
excerpts = {options.excerpts}
[explainer]
kind = "lookup"
[simulator]
kind = "lookup"
{f"[shards]{chr(10)}neurons = {options.per_shard}" if options.per_shard else ""}
"""


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main()
