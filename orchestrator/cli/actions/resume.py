"""What the command `resume` does: let a run go on."""

import sys

from orchestrator.cli.follow import run_to_its_end
from orchestrator.cli.run_lookup import find_run, open_engine
from worker.run import Run


def resume(name: str | None, as_json: bool) -> None:
    run = find_run(open_engine(), name)
    sys.exit(run_to_its_end(Run.of(run).config, None, as_json=as_json))
