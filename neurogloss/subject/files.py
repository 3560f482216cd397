"""The files of a subject model: in a local folder, on the hub, or shipped with the project."""

from pathlib import Path

from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from neurogloss.errors import InputError
from neurogloss.hub import HubUnreachable, reach

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
    if _is_path(model):
        raise InputError(f"subject.model = {model!r}: there is no such folder")
    try:
        return Path(hf_hub_download(model, name))
    except Exception as error:  # hub, network and name errors have no common base
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"subject.model = {model!r} is neither a folder nor a model of the hub: {reason}"
        ) from error


def check_hub(model: str) -> None:
    """Check that the hub can be reached, if files of a subject model have to come from it.

    Commands ask for it once; to download a file is tried for half a minute, which suits workers.

    Raises:
        InputError: The hub does not answer.
    """
    is_here = all(is_at_hand(model, name) for name in ("config.json", "tokenizer.json"))
    if is_here or local_folder(model) is not None or _is_path(model):
        return
    try:
        reach(model, "config.json")
    except HubUnreachable as error:
        raise InputError(
            f"subject.model = {model!r} is no folder, and the hub cannot be reached: {error}. "
            "A folder with the model's files needs no hub."
        ) from error


def _is_path(model: str) -> bool:
    """Return whether a name can be that of a folder only, and of no model of the hub."""
    return Path(model).is_absolute() or model.startswith((".", "~")) or model.count("/") > 1
