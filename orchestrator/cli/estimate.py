"""The command `estimate`: calls, tokens, cost and time of a run, before anything is spent."""

import math
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from sqlalchemy import RowMapping

from db import runs
from db.session import transaction
from neurogloss.config.run import RunConfig
from neurogloss.config.toml import read_config
from neurogloss.errors import InputError
from neurogloss.neurons.simulators.kinds import SimulatorChoice
from neurogloss.subject.shape import Shape
from neurogloss.subject.tokenizer import read_tokenizer
from orchestrator.cli.terminal.plain import plain
from orchestrator.cli.terminal.printing import json_option, print_json
from orchestrator.environment import find_environment, home_folder, open_database
from orchestrator.estimate.counting import StageEstimate
from orchestrator.estimate.estimate import Estimate, make_estimate
from orchestrator.estimate.sample import Sample, sample_of_corpus, sample_of_run
from orchestrator.estimate.token_counts import find_counter
from orchestrator.local.services import services_running
from orchestrator.runs.create import check_model
from orchestrator.runs.derive import base_of, with_records_of
from orchestrator.runs.plan import chosen_neurons

_COUNTS = ("calls", "prompt_tokens", "cached_tokens", "completion_tokens")
_PRICES = ("usd", "usd_with_cache", "usd_in_batches")


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--latency-s",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds that a call takes; by the length of its answer unless given.",
)
@json_option
def estimate(config: Path, latency_s: float | None, as_json: bool) -> None:
    """Say what the run that CONFIG describes will ask, cost and take. Makes no call.

    Prompts are counted on neurons of the run, if it exists and has collected some, and on excerpts
    of its corpus otherwise.
    """
    run = read_config(config)
    if run.records.run is not None:
        made = _of_derived(run, latency_s)
    else:
        shape = check_model(run)
        n_neurons = sum(map(len, chosen_neurons(run, shape).values()))
        sample, choice = _found(run, shape)
        counter = find_counter(read_tokenizer(run.subject.model))
        made = make_estimate(run, n_neurons, sample, counter, choice, latency_s)
    if as_json:
        print_json(_values(made))
    else:
        _show(Console(), run, made)


def _of_derived(config: RunConfig, latency_s: float | None) -> Estimate:
    """Estimate a run on the records of another one, whose subject model need not be there."""
    engine = open_database(find_environment())
    run = with_records_of(engine, config)
    with transaction(engine) as connection:
        base, neurons = base_of(connection, run)
        sample = sample_of_run(connection, base, run)
    if sample is None:
        raise InputError(f"records.run = {run.records.run!r}: this run has no records")
    choice = SimulatorChoice.configured(run.simulator.kind)
    counter = find_counter(read_tokenizer("demo"))
    return make_estimate(run, sum(map(len, neurons.values())), sample, counter, choice, latency_s)


def _found(config: RunConfig, shape: Shape) -> tuple[Sample, SimulatorChoice]:
    """Return a sample and the simulator, of the run if there is one."""
    configured = SimulatorChoice.configured(config.simulator.kind)
    if os.environ.get("DATABASE_URL") or services_running(home_folder())["postgres"]:
        engine = open_database(find_environment())
        with transaction(engine) as connection:
            row: RowMapping | None = runs.find(connection, config.name)
            if row is not None:
                chosen = row["simulator"]
                choice = SimulatorChoice.from_json(chosen) if chosen else configured
                sample = sample_of_run(connection, row, config)
                return sample or sample_of_corpus(config, shape.vocab_size), choice
    return sample_of_corpus(config, shape.vocab_size), configured


def _values(made: Estimate) -> dict[str, Any]:
    return {
        "neurons": made.n_neurons,
        "sample": made.sample,
        "tokens_counted_by": made.counted_by,
        "stages": [_stage_values(stage) for stage in made.stages],
        "total": _total(made),
        "other_simulators": [_stage_values(stage) for stage in made.other_simulators],
    }


def _stage_values(stage: StageEstimate) -> dict[str, Any]:
    return {**asdict(stage), "bound_by": stage.bound_by}


def _total(made: Estimate) -> dict[str, Any]:
    seconds = made.seconds()
    sums = {name: sum(getattr(s, name) for s in made.stages) for name in _COUNTS}
    return {
        **sums,
        **{name: _sum_usd(made.stages, name) for name in _PRICES},
        "seconds": seconds,
        "bound_by": max(seconds, key=seconds.__getitem__, default=None),
    }


def _sum_usd(stages: Sequence[StageEstimate], name: str) -> float | None:
    found = [getattr(stage, name) for stage in stages]
    return None if None in found else sum(found)


def _show(console: Console, config: RunConfig, made: Estimate) -> None:
    if not made.stages:
        console.print(f"run {config.name}: {made.n_neurons:,} neurons, no calls, no cost")
        return
    total = _total(made)
    table = _table(f"run {config.name}: {made.n_neurons:,} neurons")
    for stage in made.stages:
        _add_row(table, _name(stage), _stage_values(stage))
    _add_row(table, "total", total)
    console.print(table)
    if made.other_simulators:
        others = _table("simulate, with another kind of simulator")
        for stage in made.other_simulators:
            _add_row(others, _name(stage), _stage_values(stage))
        console.print(others)
    for line in _notes(config, made):
        console.print(plain(line), markup=False, highlight=False)


def _name(stage: StageEstimate) -> str:
    several = f" x{stage.records_per_call}" if stage.records_per_call > 1 else ""
    return f"{stage.stage} ({stage.kind}{several})"


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("stage", overflow="fold")
    for heading in ("calls", "prompt", "cached", "completion", "USD", "cache", "batch", "time"):
        table.add_column(heading, justify="right")
    table.add_column("bound by")
    return table


def _add_row(table: Table, name: str, values: dict[str, Any]) -> None:
    bound = values["bound_by"]
    table.add_row(
        name,
        *(f"{values[column]:,}" for column in _COUNTS),
        *("-" if values[column] is None else f"{values[column]:,.2f}" for column in _PRICES),
        str(timedelta(seconds=math.ceil(values["seconds"][bound]))) if bound else "-",
        bound.replace("_", " ") if bound else "-",
    )


def _notes(config: RunConfig, made: Estimate) -> list[str]:
    notes = [
        f"Tokens were counted on {made.sample}, by {made.counted_by}.",
        "Completions and the time of a call are assumptions; cached are the tokens that a prompt "
        "cache may keep (prefixes of 1,024 tokens and more), batch is half the price. The time is "
        "that of the calls, without collecting.",
    ]
    without = {s.model: s.endpoint for s in made.stages if s.usd is None}
    notes += [
        f'No price is known for {model}: add [endpoints.{endpoint}.prices."{model}"].'
        for model, endpoint in without.items()
    ]
    simulated = [stage for stage in made.stages if stage.stage == "simulate"]
    if config.simulator.kind == "auto" and simulated:
        notes.append(
            f"simulator.kind is auto, which asks the endpoint; taken for {simulated[0].kind}."
        )
    return notes
