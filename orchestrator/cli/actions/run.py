"""What the command `run` does: start the run of a file, or resume it, and follow it."""

import sys
from pathlib import Path

from neurogloss.config.toml import read_config
from orchestrator.cli.follow import run_to_its_end


def run(
    config: Path, local_workers: dict[str, int] | None, wait_while_paused: bool, as_json: bool
) -> None:
    read = read_config(config)
    sys.exit(
        run_to_its_end(read, local_workers, waits_while_paused=wait_while_paused, as_json=as_json)
    )
