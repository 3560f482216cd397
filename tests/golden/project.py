"""Everything of the project that the golden tests import: only this file follows where code moves.

The tests use what is in `__all__`. Where a function is renamed, import it here `as` its old name:
the tests and the pinned values stay as they are.
"""

from orchestrator.cli import cli, main
from orchestrator.config import DEMO, read_config
from orchestrator.local.services import start_services
from orchestrator.rehearsal.capabilities import Capabilities
from orchestrator.rehearsal.faults import FaultRates
from orchestrator.rehearsal.options import BatchOptions, RehearsalOptions
from orchestrator.rehearsal.server import RehearsalServer
from worker.api.calls import Call
from worker.app import app as celery_app
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
    "BatchOptions",
    "Call",
    "Capabilities",
    "FaultRates",
    "Observed",
    "RehearsalOptions",
    "RehearsalServer",
    "RunConfig",
    "celery_app",
    "cli",
    "illustration_body",
    "main",
    "read_config",
    "revision_body",
    "start_services",
    "token_space_body",
]
