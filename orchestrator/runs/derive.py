"""Create runs on the records of another run, for example to compare explainers or simulators."""

from collections.abc import Mapping

from pydantic import ValidationError
from sqlalchemy import Connection, Engine

from db import datasets, imports, runs
from db.runs import StoredRun
from db.session import transaction
from neurogloss.config.run import RunConfig
from neurogloss.errors import InputError
from neurogloss.subject.shape import Shape
from orchestrator.datasets.description import DEFAULT_ACTIVATION
from orchestrator.runs.endpoints import check_endpoints
from orchestrator.runs.plan import chosen_neurons, make_neuron_plan
from orchestrator.runs.save import log_created, save_run
from worker.run import Run


def with_records_of(engine: Engine, config: RunConfig) -> RunConfig:
    """Complete a configuration with the subject, corpus and records of the run `records.run`.

    Without `records.run` the configuration is returned unchanged.

    Raises:
        InputError: The other run does not exist, is not done, or keeps too few records.
    """
    name = config.records.run
    if name is None:
        return config
    with transaction(engine) as connection:
        base = runs.find(connection, name)
        if base is None and runs.find(connection, config.name) is not None:
            return config  # the derived run exists already, with its own copy of the records
    if base is None or base.state == "importing":
        raise InputError(f"records.run = {name!r}: there is no run of this name")
    if base.state != "done":
        raise InputError(f"records.run = {name!r}: this run is {base.state}, not done")
    of_base = Run.of(base).config
    values = config.model_dump()
    values |= {
        part: getattr(of_base, part).model_dump() for part in ("subject", "corpus", "records")
    }
    values["records"]["run"] = name
    try:
        return RunConfig.model_validate(values).read_in(of_base.folder)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"records.run = {name!r}: {reason}") from error


def create_from_run(engine: Engine, config: RunConfig) -> int:
    """Store a run with copies of another run's records, token means and connections; return its id.

    Raises:
        InputError: The other run no longer exists, or has none of the configured neurons.
        RunError: The probe of an endpoint failed.
    """
    with transaction(engine) as connection:
        base, neurons = base_of(connection, config)
    plan = make_neuron_plan(config, neurons)
    # Between two transactions, since a probe may take minutes.
    ready = check_endpoints(config)
    with transaction(engine) as connection:
        run_id = save_run(connection, config, shape_of(base), base.corpus_id, plan, ready)
        imports.copy(connection, base.id, run_id, explanations=config.explainer.kind == "stored")
        origin = datasets.origin(connection, base.id)
        function = origin.activation_function if origin else DEFAULT_ACTIVATION
        imports.save_origin(connection, run_id, f"run {base.name}", function, base.id)
    log_created(run_id, config, plan, ready)
    return run_id


def base_of(connection: Connection, config: RunConfig) -> tuple[StoredRun, dict[int, list[int]]]:
    """Return the run that has the records, and its configured neurons by layer.

    Raises:
        InputError: The other run no longer exists, or has none of the configured neurons.
    """
    base = runs.find(connection, str(config.records.run))
    if base is None:
        raise InputError(f"records.run = {config.records.run!r}: there is no such run any more")
    there = {
        layer: set(runs.neurons_in(connection, base.id, layer))
        for layer in runs.layers_of(connection, base.id)
    }
    return base, _chosen(config, base, there)


def _chosen(
    config: RunConfig, base: StoredRun, there: Mapping[int, set[int]]
) -> dict[int, list[int]]:
    """Return the configured neurons that the other run has, by layer."""
    chosen = {
        layer: [neuron for neuron in neurons if neuron in there.get(layer, ())]
        for layer, neurons in chosen_neurons(config, shape_of(base)).items()
    }
    chosen = {layer: neurons for layer, neurons in chosen.items() if neurons}
    if not chosen:
        raise InputError(f"neurons: run {base.name!r} has none of them")
    return chosen


def shape_of(base: StoredRun) -> Shape:
    """Return the shape of a run's subject model; vocabulary and positions are unknown, hence 0."""
    return Shape(base.n_layers, base.neurons_per_layer, 0, 0)
