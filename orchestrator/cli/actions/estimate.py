"""What the command `estimate` does: calls, tokens, cost and time, before anything is spent."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from db import runs
from db.session import transaction
from neurogloss.config.run import RunConfig
from neurogloss.config.toml import read_config
from neurogloss.errors import InputError
from neurogloss.neurons.simulators.kinds import SimulatorChoice
from neurogloss.subject.files import is_at_hand
from neurogloss.subject.shape import Shape, public_shape
from neurogloss.subject.tokenizer import FILE as TOKENIZER_FILE
from neurogloss.subject.tokenizer import read_tokenizer
from orchestrator.cli.terminal.estimate_tables import COUNTS, PRICES, estimate_tables
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.cli.terminal.whole_table import output_console
from orchestrator.environment import find_environment, home_folder, open_database
from orchestrator.estimate.counting import StageEstimate
from orchestrator.estimate.estimate import Estimate, make_estimate
from orchestrator.estimate.measured import Measured, find_measured
from orchestrator.estimate.sample import Sample, sample_of_run, sample_without_run
from orchestrator.estimate.token_counts import find_counter
from orchestrator.local.services import services_running
from orchestrator.runs.complete import complete_config
from orchestrator.runs.derive import base_of
from orchestrator.runs.inputs import check_fit, check_model
from orchestrator.runs.plan import chosen_neurons

Assumed = tuple[float | None, int | None]
"""Seconds that a call takes, and tokens that a model thinks; None where they are not given."""


def estimate(
    config: Path, latency_s: float | None, reasoning_tokens: int | None, as_json: bool
) -> None:
    run = read_config(config)
    assumed = (latency_s, reasoning_tokens)
    if run.records.run is not None:
        made = _of_derived(run, assumed)
    else:
        shape = _shape(run)
        known = _known_of(run)
        run = known.config
        sample = known.sample or sample_without_run(run, shape.vocab_size)
        n_neurons = sum(map(len, chosen_neurons(run, shape).values()))
        model = run.located(run.subject.model)
        is_here = is_at_hand(model, TOKENIZER_FILE)
        counter = find_counter(read_tokenizer(model if is_here else "demo"))
        made = make_estimate(
            run, n_neurons, sample, counter, known.simulator, *assumed, known.measured
        )
    values = _values(made)
    if as_json:
        print_json(values)
    else:
        output_console().print(estimate_tables(run, values))


def _shape(config: RunConfig) -> Shape:
    """Return the shape of the subject model; that of a public one without asking the hub.

    Raises:
        InputError: The model is missing or does not fit.
    """
    shape = public_shape(config.subject.model)
    if shape is None or is_at_hand(config.located(config.subject.model), "config.json"):
        return check_model(config)
    check_fit(config, shape)
    return shape


def _of_derived(config: RunConfig, assumed: Assumed) -> Estimate:
    """Estimate a run on the records of another one, whose subject model need not be there."""
    engine = open_database(find_environment())
    run = complete_config(engine, config)
    with transaction(engine) as connection:
        base, neurons = base_of(connection, run)
        sample = sample_of_run(connection, base, run)
        measured = find_measured(connection, run)
    if sample is None:
        raise InputError(f"records.run = {run.records.run!r}: this run has no records")
    choice = SimulatorChoice.configured(run.simulator.kind)
    counter = find_counter(read_tokenizer("demo"))
    n_neurons = sum(map(len, neurons.values()))
    return make_estimate(run, n_neurons, sample, counter, choice, *assumed, measured)


@dataclass(frozen=True)
class _Known:
    """What the database knows of a run that has its own records.

    Attributes:
        config: The configuration, with the control of the run.
        simulator: The simulator that was chosen for the run, or the configured one.
        sample: Neurons of the run; None if it has collected none.
        measured: Calls and tokens of another run with the same models and prompts, if there is one.
    """

    config: RunConfig
    simulator: SimulatorChoice
    sample: Sample | None = None
    measured: Measured | None = None


def _known_of(config: RunConfig) -> _Known:
    """Look a run up in the database, if there is a database."""
    choice = SimulatorChoice.configured(config.simulator.kind)
    if not os.environ.get("DATABASE_URL") and not services_running(home_folder())["postgres"]:
        return _Known(config.completed_from(None), choice)
    engine = open_database(find_environment())
    config = complete_config(engine, config)
    with transaction(engine) as connection:
        measured = find_measured(connection, config)
        run = runs.find(connection, config.name)
        if run is None:
            return _Known(config, choice, measured=measured)
        choice = SimulatorChoice.from_json(run.simulator) if run.simulator else choice
        return _Known(config, choice, sample_of_run(connection, run, config), measured)


def _values(made: Estimate) -> dict[str, Any]:
    return {
        "neurons": made.n_neurons,
        "sample": made.sample,
        "tokens_counted_by": made.counted_by,
        "measured_on": made.measured_on,
        "stages": [_stage_values(stage) for stage in made.stages],
        "total": _total(made),
        "other_simulators": [_stage_values(stage) for stage in made.other_simulators],
    }


def _stage_values(stage: StageEstimate) -> dict[str, Any]:
    return {**asdict(stage), "bound_by": stage.bound_by}


def _total(made: Estimate) -> dict[str, Any]:
    seconds = made.seconds()
    return {
        **{name: sum(getattr(stage, name) for stage in made.stages) for name in COUNTS},
        **{name: _sum_usd(made.stages, name) for name in PRICES},
        "seconds": seconds,
        "bound_by": max(seconds, key=seconds.__getitem__, default=None),
    }


def _sum_usd(stages: Sequence[StageEstimate], name: str) -> float | None:
    """Return a sum of prices; None where one of them is not known."""
    prices = [getattr(stage, name) for stage in stages]
    return None if None in prices else sum(prices)
