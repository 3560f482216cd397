"""Everything of the project that the golden tests import: only this file follows where code moves.

What is in `__all__` is what the tests use: where a function is renamed, import it `as` its name here,
and the tests and the pinned values stay as they are.
"""

from orchestrator.config import DEMO, read_config
from orchestrator.rehearsal.faults import FaultRates
from orchestrator.rehearsal.options import RehearsalOptions
from orchestrator.rehearsal.server import RehearsalServer
from worker.api.calls import Call
from worker.neurons.illustration import illustration_body
from worker.neurons.records import ActivationRecord
from worker.neurons.revision import Observed, revision_body
from worker.neurons.token_space import token_space_body
from worker.run_config import RunConfig

CLI = "orchestrator"  # python -m

__all__ = [
    "CLI",
    "DEMO",
    "ActivationRecord",
    "Call",
    "FaultRates",
    "Observed",
    "RehearsalOptions",
    "RehearsalServer",
    "RunConfig",
    "illustration_body",
    "read_config",
    "revision_body",
    "token_space_body",
]
