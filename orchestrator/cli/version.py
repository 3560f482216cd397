"""What `neurogloss --version` says: version, commit, and the build of torch that is installed."""

import os
import re
import subprocess
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

COMMIT = "NEUROGLOSS_COMMIT"  # images have it, as they contain no repository
_SOURCE = Path(__file__).parents[2]
# NVIDIA's oldest driver for each major version of CUDA, from the release notes of the toolkit.
_DRIVERS = {"11": 450, "12": 525, "13": 580}


def version_lines() -> str:
    """Return the lines of `--version`."""
    found = f"neurogloss, version {metadata.version('neurogloss')}"
    if commit := os.environ.get(COMMIT) or _commit_of_checkout():
        found += f", commit {commit}"
    torch = _torch()
    return found if torch is None else f"{found}\n{torch}"


def _commit_of_checkout() -> str | None:
    """Return the commit of the source, with `-dirty` where files differ from it."""
    if not (_SOURCE / ".git").exists():
        return None
    command = ["git", "-C", str(_SOURCE), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _torch() -> str | None:
    """Return the line of the torch that is installed, without importing it."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    return torch_line(Path(spec.origin).with_name("version.py").read_text(encoding="utf-8"))


def torch_line(version_file: str) -> str:
    """Return a build of torch and the driver that it needs, as its file version.py says it."""
    version = re.search(r"^__version__ = '([^']*)'$", version_file, re.M)
    named = f"torch, version {version[1] if version else 'unknown'}"
    cuda = re.search(r"^cuda\b[^=\n]*= '((\d+)[\d.]*)'$", version_file, re.M)
    if cuda is None:
        return f"{named}, without CUDA"
    driver = _DRIVERS.get(cuda[2])
    return f"{named}, CUDA {cuda[1]}" + (f", driver {driver} or later" if driver else "")
