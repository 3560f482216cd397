"""What the command `search` does: find neurons by their explanations."""

import os
from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Engine

from db import embeddings, results
from db.embeddings import NearNeuron
from db.results import NeuronSummary
from db.runs import StoredRun
from db.session import transaction
from neurogloss.errors import InputError
from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.cli.terminal.summary import near_neurons_table, neurons_table
from orchestrator.cli.terminal.whole_table import output_console
from orchestrator.embedding import QueryEmbeddings


def search(words: str, name: str | None, limit: int, meaning: bool, as_json: bool) -> None:
    engine = open_engine()
    run = find_run(engine, name)
    rows: Sequence[NeuronSummary | NearNeuron]
    if meaning:
        near = _by_meaning(engine, run, words, limit)
        rows, table = near, near_neurons_table(near)
    else:
        with transaction(engine) as connection:
            found = results.search(connection, run.name, words, limit)
        rows, table = found, neurons_table(found)
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        output_console().print(table)


def _by_meaning(engine: Engine, run: StoredRun, words: str, limit: int) -> list[NearNeuron]:
    with transaction(engine) as connection:
        by = embeddings.find(connection, run.id)
    if by is None:
        raise InputError(f"run {run.name!r} is not embedded: neurogloss embed {run.name}")
    vector = QueryEmbeddings(os.environ)(by, words)
    with transaction(engine) as connection:
        return embeddings.nearest(connection, by, vector, limit)
