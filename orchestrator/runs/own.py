"""A run that scores an explanation that a person wrote, of one neuron of another run."""

from sqlalchemy import Connection, Engine

from db import datasets, imports, listed_neurons, results, runs
from db.results import ExplanationRow
from db.runs import StoredRun
from db.session import transaction
from neurogloss.config.run import RunConfig
from neurogloss.errors import InputError
from neurogloss.neurons.simulators.kinds import SimulatorChoice
from orchestrator.datasets.description import DEFAULT_ACTIVATION
from orchestrator.runs.derive import shape_of
from orchestrator.runs.endpoints import Readiness
from orchestrator.runs.plan import make_neuron_plan
from orchestrator.runs.save import log_created, save_run
from worker.run import Run

LONGEST_EXPLANATION = 2000  # characters
PERSON = "a person"
"""The explainer of what a person wrote."""
_MOST = 1000  # runs about one neuron
_LONGEST_STEM = 95  # of the 100 characters of a name


def create_own(engine: Engine, base: StoredRun, layer: int, neuron: int, explanation: str) -> str:
    """Store a run that simulates and scores a person's explanation; return its name.

    It has the records, the simulator and the limits of the other run. No endpoint is probed: how
    the simulator is asked was found out for the other run.

    Raises:
        InputError: The explanation is empty or too long, the other run is not done, simulates
            without an explanation, or has no records of the neuron.
    """
    _check(explanation)
    config = _config_of(base)
    plan = make_neuron_plan(config, {layer: [neuron]})
    choice = None if base.simulator is None else SimulatorChoice.from_json(base.simulator)
    ready = Readiness(choice, ())
    with transaction(engine) as connection:
        named = config.model_copy(
            update={"name": _free_name(connection, f"{base.name}.{layer}.{neuron}")}
        )
        run_id = save_run(connection, named, shape_of(base), base.corpus_id, plan, ready)
        imports.copy(connection, base.id, run_id, explanations=False)
        if neuron not in datasets.neurons_with_records(connection, run_id, layer):
            # Within the transaction, which then takes back the run.
            raise InputError(f"run {base.name!r} has no records of neuron {layer}/{neuron}")
        row = ExplanationRow(run_id, layer, neuron, explanation.strip(), PERSON)
        results.explanations.save(connection, [row])
        listed_neurons.renew(connection, run_id, [layer])
        origin = datasets.origin(connection, base.id)
        function = origin.activation_function if origin else DEFAULT_ACTIVATION
        imports.save_origin(connection, run_id, f"run {base.name}", function, base.id)
    log_created(run_id, named, plan, ready)
    return named.name


def _check(explanation: str) -> None:
    if not explanation.strip():
        raise InputError("the explanation is empty")
    if len(explanation) > LONGEST_EXPLANATION:
        raise InputError(f"the explanation has more than {LONGEST_EXPLANATION:,} characters")
    # Postgres stores neither.
    if "\0" in explanation or any("\ud800" <= c <= "\udfff" for c in explanation):
        raise InputError("the explanation has NUL, or half of a surrogate pair, in it")


def _config_of(base: StoredRun) -> RunConfig:
    if base.state != "done":
        raise InputError(f"run {base.name!r} is {base.state}, not done")
    config = Run.of(base).config
    if config.simulator.kind == "lookup":
        raise InputError("the simulator of this run is 'lookup', which reads no explanation")
    values = config.model_dump()
    values["records"]["run"] = base.name
    values["explainer"] |= {"kind": "stored", "candidates": 1, "revise": False}
    values["scoring"]["control"] = 0.0  # there is no other neuron whose explanation it could have
    values["ablation"] |= {"neurons": [], "per_layer": 0}
    return RunConfig.model_validate(values).read_in(config.folder)


def _free_name(connection: Connection, stem: str) -> str:
    if len(stem) > _LONGEST_STEM:
        raise InputError(f"a name that begins with {stem!r} would be too long for a run")
    for number in range(1, _MOST + 1):
        if runs.find(connection, f"{stem}.{number}") is None:
            return f"{stem}.{number}"
    raise InputError(f"there are {_MOST:,} runs about this neuron already")
