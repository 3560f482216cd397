"""What the command `embed` does: make explanations searchable by meaning."""

import os
from dataclasses import asdict

import click
from sqlalchemy import Engine

from db import embeddings
from db.runs import StoredRun
from db.session import transaction
from neurogloss.errors import InputError, RowError
from neurogloss.llm.error_classes import UnsupportedParameter
from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.cli.terminal.plain import plain
from orchestrator.cli.terminal.progress_line import ProgressLine
from orchestrator.embedding import (
    CHARACTERS_PER_TOKEN,
    Embedding,
    EmbeddingModel,
    embed_run,
    model_of,
)


def embed(
    name: str | None,
    base_url: str | None,
    api_key_env: str | None,
    model: str | None,
    dimensions: int | None,
    restart: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    engine = open_engine()
    run = find_run(engine, name)
    by = model_of(
        run,
        os.environ,
        base_url=base_url,
        api_key_env=api_key_env,
        model=model,
        dimensions=dimensions,
    )
    if restart and not dry_run:
        with transaction(engine) as connection:
            embeddings.drop(connection, run.id)
    done = _foreseen(engine, run, by) if dry_run else _embed(engine, run, by)
    if as_json:
        print_json(asdict(done))
        return
    verb = "would be" if dry_run else "are"
    click.echo(
        f"run {plain(run.name)}: {done.explanations:,} explanations {verb} embedded by "
        f"{plain(by.name)}, {'about ' if dry_run else ''}{done.tokens:,} tokens, {done.usd:.4f} USD"
    )


def _embed(engine: Engine, run: StoredRun, model: EmbeddingModel) -> Embedding:
    try:
        with ProgressLine("embedding") as progress:
            return embed_run(
                engine, run, model, lambda done, total: progress.step("explanations", done, total)
            )
    except (RowError, UnsupportedParameter) as error:
        raise InputError(f"{model.endpoint.name}, {model.name}: {error}") from error


def _foreseen(engine: Engine, run: StoredRun, model: EmbeddingModel) -> Embedding:
    with transaction(engine) as connection:
        count = embeddings.count_unembedded(connection, run.id)
    tokens = count.characters // CHARACTERS_PER_TOKEN
    usd = model.endpoint.price(model.name).cost(tokens, 0, 0)
    return Embedding(run.name, model.name, count.explanations, tokens, usd)
