"""Runs on the records of the small data set, one for each way to ask."""

import json
from collections.abc import Mapping
from pathlib import Path

from tests.golden.make_dataset import FILE
from tests.golden.world import BASE_URL, CommandLine

BY_MODEL = 'endpoint = "e"\nmodel = "{name} explainer"\n'
ALSO = 'also = ["detection", "fuzzing"]\n'
RUNS = {
    "json-1": {
        "explainer": f"{BY_MODEL}candidates = 2",
        "simulator": 'kind = "json"',
        "scoring": f'calibration = ["linear", "percentile"]\n{ALSO}',
    },
    "json-3": {
        "explainer": BY_MODEL,
        "simulator": 'kind = "json"\nrecords_per_call = 3',
        "scoring": ALSO,
        "scorer": "top_logprobs = 5",
    },
    "chat-logprobs": {"explainer": BY_MODEL, "simulator": 'kind = "chat_logprobs"'},
    "echo-logprobs": {"explainer": BY_MODEL, "simulator": 'kind = "echo_logprobs"'},
    "token-by-token": {"explainer": BY_MODEL, "simulator": 'kind = "token_by_token"'},
    "found-out": {"explainer": 'kind = "stored"', "simulator": 'kind = "auto"'},
}
"""What the tables of each run's configuration say; `stored` takes the texts of the data set."""


def write_dataset(folder: Path) -> None:
    """Write the files of the data set."""
    for path, content in json.loads(FILE.read_text(encoding="utf-8")).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content, encoding="utf-8")


def configuration(name: str, tables: Mapping[str, str]) -> str:
    """Return a TOML file. Models are named after the run, so that no two ask the same question."""
    return f"""
name = "{name}"
[records]
run = "imported"
[explainer]
{tables["explainer"].format(name=name)}
[simulator]
endpoint = "e"
model = "{name} simulator"
{tables["simulator"]}
[scoring]
top = 2
random = 2
control = 0.0
{tables.get("scoring", "")}
[scorer]
endpoint = "e"
model = "{name} scorer"
{tables.get("scorer", "")}
[shards]
neurons = 3
[endpoints.e]
base_url = "{BASE_URL}"
"""


def make_runs(cli: CommandLine, folder: Path) -> dict[str, tuple[int, str]]:
    """Import the data set, and let all runs on it end; return their exit codes and outputs."""
    write_dataset(folder / "dataset")
    code, output = cli.run("import", str(folder / "dataset"), "--name", "imported")
    assert code == 0, output
    with cli.worker("api"):
        started = {}
        for name, tables in RUNS.items():
            path = folder / f"{name}.toml"
            path.write_text(configuration(name, tables), encoding="utf-8")
            started[name] = cli.start("run", str(path), "--local-workers", "api=0")
        return {name: cli.end(process) for name, process in started.items()}
