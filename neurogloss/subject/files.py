"""The files of a subject model: in a local folder, on the hub, or shipped with the project."""

from pathlib import Path

from huggingface_hub import (
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from neurogloss.errors import InputError

ANSWER_S = 10.0  # that the hub gets to answer at all
DEMO_FOLDER = Path(__file__).parent / "demo"


def local_folder(model: str) -> Path | None:
    """Return the folder of a subject model; None if it is a model of the hub."""
    folder = DEMO_FOLDER if model == "demo" else Path(model)
    return folder if folder.is_dir() else None


def cached_folder(model: str) -> Path | None:
    """Return the folder of the local cache with the weights of a model of the hub, if any."""
    cached = _cached(model, "model.safetensors")
    return cached.parent if cached else None


def is_at_hand(model: str, name: str) -> bool:
    """Return whether a file of a subject model is on this machine, so that no hub is asked."""
    if (folder := local_folder(model)) is not None:
        return (folder / name).is_file()
    return _cached(model, name) is not None


def _cached(model: str, name: str) -> Path | None:
    """Return the path of a file of the hub in the local cache, if any."""
    try:
        cached = try_to_load_from_cache(model, name)
    except HFValidationError:  # the hub has no such names
        return None
    return Path(cached) if isinstance(cached, str) else None


def model_file(model: str, name: str) -> Path:
    """Return the path of one file of a subject model, which is downloaded if it has to be.

    Args:
        model: A local folder, a hub id, or "demo".
        name: Of the file, such as "config.json".

    Raises:
        InputError: The folder has no such file, or the hub does not give it.
    """
    if (folder := local_folder(model)) is not None:
        if (folder / name).is_file():
            return folder / name
        raise InputError(f"subject.model = {model!r}: there is no {name} in this folder")
    if Path(model).is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise InputError(f"subject.model = {model!r}: there is no such folder")
    if not is_at_hand(model, name):
        _reach_hub(model, name)
    try:
        return Path(hf_hub_download(model, name))
    except Exception as error:  # hub, network and name errors have no common base
        raise InputError(
            f"subject.model = {model!r} is neither a folder nor a model of the hub: "
            f"{_first_line(error)}"
        ) from error


def _reach_hub(model: str, name: str) -> None:
    """Ask once for a file: to download it is tried for half a minute where there is no network.

    Raises:
        InputError: The hub does not answer.
    """
    try:
        get_hf_file_metadata(hf_hub_url(model, name), timeout=ANSWER_S)
    except (HfHubHTTPError, HFValidationError):
        pass  # it answered, or the name is wrong: the download says what is the matter
    except Exception as error:  # those of the network have no common base
        raise InputError(
            f"subject.model = {model!r} is no folder, and the hub cannot be reached: "
            f"{_first_line(error).rstrip('.')}. A folder with the model's files needs no hub."
        ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
