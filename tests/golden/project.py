"""Everything of the project that the golden tests import: only this file follows where code moves.

Names on the left of `as` and in `__all__` are what the tests use, so that a renamed function or a
moved module is one line here, and the pinned values stay as they are.
"""

from orchestrator.config import DEMO, read_config
from worker.run_config import RunConfig

__all__ = ["DEMO", "RunConfig", "read_config"]
