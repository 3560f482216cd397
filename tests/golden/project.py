"""Everything of the project that the golden tests import: only this file follows where code moves.

The tests use what is in `__all__`. Where a function is renamed, import it here `as` its old name:
the tests and the pinned values stay as they are.
"""

from neurogloss.config.run import RunConfig
from neurogloss.config.toml import read_config
from neurogloss.llm.calls import Call
from neurogloss.neurons.illustration import illustration_body
from neurogloss.neurons.records import ActivationRecord
from neurogloss.neurons.revision import ObservedSentence as Observed
from neurogloss.neurons.revision import revision_body
from neurogloss.neurons.token_space import token_space_body
from orchestrator.cli.actions.demo import DEMO
from orchestrator.cli.main import cli, main
from orchestrator.local.services import start_services
from rehearsal.capabilities import Capabilities
from rehearsal.faults import FaultRates
from rehearsal.options import BatchOptions, RehearsalOptions
from rehearsal.server import RehearsalServer
from worker.app import app as celery_app

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
