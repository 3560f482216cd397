"""The headers of .safetensors files: names, types and shapes of tensors, read without torch.

Such a file begins with the length of its header, in 8 bytes, and the header, an object of JSON.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurogloss.errors import InputError
from neurogloss.subject.json_object import parse_object, read_object

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_MAX_HEADER = 32_000_000  # bytes; GPT-2 XL's has 60,000
_LENGTH_BYTES = 8
_WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I8": 1, "U8": 1, "BOOL": 1}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """The type and the shape of a tensor, as the header of `file` gives them."""

    dtype: str
    shape: tuple[int, ...]
    file: str


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Return the tensors of a model folder by name: of its one file, or of those of its index.

    Raises:
        InputError: There is no such file, or it is not whole.
    """
    if (folder / SINGLE).is_file():
        return _tensors_of(folder / SINGLE)
    if not (folder / INDEX).is_file():
        names = sorted(path.name for path in folder.glob("*.safetensors"))
        others = [name for name in names if not name.startswith("adapter")]
        rename = f"; if {others[0]} has its weights, rename it to {SINGLE}" if others else ""
        raise InputError(f"there is neither {SINGLE} nor {INDEX} in this folder{rename}")
    tensors: dict[str, StoredTensor] = {}
    for name in _files_of_index(folder / INDEX):
        if not (folder / name).is_file():
            raise InputError(f"{INDEX} lists {name}, which is not in this folder")
        tensors |= _tensors_of(folder / name)
    return tensors


def _files_of_index(index: Path) -> list[str]:
    values = read_object(index, _MAX_HEADER)
    listed = values.get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise InputError(f'{INDEX} has no "weight_map" from names to files')
    files = {name if isinstance(name, str) else "" for name in listed.values()}
    for name in files:
        # A path could lead out of the folder.
        if not name or Path(name).name != name:
            raise InputError(
                f'{INDEX}: "weight_map" names {name!r}, which is no file of its folder'
            )
    if not isinstance(values.get("metadata"), dict):  # which transformers reads
        raise InputError(f'{INDEX} has no "metadata": add "metadata": {{}} to it')
    return sorted(files)


def _tensors_of(file: Path) -> dict[str, StoredTensor]:
    try:
        with file.open("rb") as opened:
            size = file.stat().st_size
            length = int.from_bytes(opened.read(_LENGTH_BYTES), "little")
            if size < _LENGTH_BYTES or length > min(_MAX_HEADER, size - _LENGTH_BYTES):
                raise InputError(_no_header(file))
            header = parse_object(opened.read(length), f"the header of {file.name}")
    except OSError as error:
        raise InputError(f"{file.name} cannot be read: {error.strerror}") from error
    header.pop("__metadata__", None)
    _check_whole(file, header, size - _LENGTH_BYTES - length)
    return {name: _tensor(name, entry, file) for name, entry in header.items()}


def _no_header(file: Path) -> str:
    with file.open("rb") as opened:
        if opened.read(20).startswith(b"version https://git-"):
            return f"{file.name} is a pointer of Git LFS: fetch the file itself with `git lfs pull`"
    return f"{file.name} is no file of safetensors, or was cut off"


def _check_whole(file: Path, header: Mapping[str, Any], n_bytes: int) -> None:
    """Check that a file has the bytes that its header says, each for one tensor."""
    places = sorted((_offsets(name, entry, file), name) for name, entry in header.items())
    end = max((place[1] for place, _ in places), default=0)
    if end != n_bytes:
        what = "was cut off" if end > n_bytes else "has more than its header says"
        raise InputError(
            f"{file.name} {what}: its header speaks of {end:,} bytes of tensors, and "
            f"{n_bytes:,} are there"
        )
    begin = 0
    for (start, stop), name in places:
        if start != begin or stop - start != _n_bytes(header[name], stop - start):
            raise InputError(
                f"{file.name}: the header gives {name!r} {stop - start:,} bytes from {start:,} on, "
                "which does not fit its shape, or the tensor before it: save the model again"
            )
        begin = stop


def _n_bytes(entry: Mapping[str, Any], otherwise: int) -> int:
    """Return how many bytes a tensor has by its type and shape; `otherwise` for unknown types."""
    sizes, width = entry.get("shape"), _WIDTHS.get(str(entry.get("dtype")))
    if width is None or not isinstance(sizes, list) or not all(type(n) is int for n in sizes):
        return otherwise
    return math.prod(sizes) * width


def _offsets(name: str, entry: Any, file: Path) -> tuple[int, int]:
    match entry:
        case {"data_offsets": [int(start), int(end)]} if 0 <= start <= end:
            return start, end
    raise InputError(f"{file.name}: the header says no place for {name!r}")


def _tensor(name: str, entry: Any, file: Path) -> StoredTensor:
    match entry:
        case {"dtype": str(dtype), "shape": [*sizes]} if all(type(n) is int for n in sizes):
            return StoredTensor(dtype, tuple(sizes), file.name)
    raise InputError(f"{file.name}: the header says no type and shape for {name!r}")
