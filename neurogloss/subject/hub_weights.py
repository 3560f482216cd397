"""The tensors of a model on the hub, by the headers of its files: the weights stay there."""

from huggingface_hub import get_safetensors_metadata
from huggingface_hub.errors import NotASafetensorsRepoError

from neurogloss.errors import InputError
from neurogloss.subject.files import cached_folder
from neurogloss.subject.safetensors_header import StoredTensor, stored_tensors


def hub_tensors(model: str) -> dict[str, StoredTensor] | None:
    """Return the tensors of a model by name; None if neither cache nor hub can tell.

    Raises:
        InputError: The model has no safetensors, or the cached file is not whole.
    """
    if (folder := cached_folder(model)) is not None:
        return stored_tensors(folder)
    try:
        files = get_safetensors_metadata(model).files_metadata
    except NotASafetensorsRepoError as error:
        raise InputError("it has no .safetensors file; other formats are not read") from error
    except Exception:  # the hub is away, or does not tell: the worker that loads the model checks
        return None
    return {
        name: StoredTensor(tensor.dtype, tuple(tensor.shape), file)
        for file, found in files.items()
        for name, tensor in found.tensors.items()
    }
