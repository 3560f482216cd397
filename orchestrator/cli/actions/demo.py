"""What the command `demo` does: a whole run on the demo model."""

import sys
from pathlib import Path

from neurogloss.config.toml import read_config
from orchestrator.cli.follow import run_to_its_end

DEMO = Path(__file__).with_name("demo.toml")


def demo(as_json: bool) -> None:
    sys.exit(run_to_its_end(read_config(DEMO), None, as_json=as_json))
