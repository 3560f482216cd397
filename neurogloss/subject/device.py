"""The device that the subject model runs on."""

import os
from typing import Any

import torch
from numpy.typing import NDArray

from neurogloss.config.settings import DEVICE, GPU_INDEX
from neurogloss.errors import CannotCollect


def find_device() -> torch.device:
    """Return the device that NEUROGLOSS_DEVICE names: `cuda`, `mps`, `cpu`, or `auto`, the default.

    `auto` is CUDA if there is any, else Apple's MPS, else the CPU. Of several CUDA devices it is
    the one of index NEUROGLOSS_GPU_INDEX modulo their number.

    Raises:
        CannotCollect: The device that it names is not there, or it names none.
    """
    wanted = os.environ.get(DEVICE) or "auto"
    there = _devices()
    if wanted == "auto":
        return next(iter(there.values()))
    if wanted in there:
        return there[wanted]
    if wanted in ("cuda", "mps"):
        raise CannotCollect(f"{DEVICE} = {wanted}, but torch {torch.__version__} finds none")
    raise CannotCollect(f"{DEVICE} = {wanted[:40]!r} is none of auto, cuda, mps, cpu")


def _devices() -> dict[str, torch.device]:
    """Return the devices that are there, the fastest first."""
    there = {}
    if torch.cuda.is_available():
        index = int(os.environ.get(GPU_INDEX) or 0)
        there["cuda"] = torch.device("cuda", index % torch.cuda.device_count())
    if torch.backends.mps.is_available():
        there["mps"] = torch.device("mps")
    return {**there, "cpu": torch.device("cpu")}


def exact_device(device: torch.device) -> torch.device:
    """Return where float64 is computed for a model on a device: Apple's MPS has none."""
    return torch.device("cpu") if device.type == "mps" else device


def name_of(device: torch.device) -> str:
    """Return what decides the bits that a device computes: its kind and the version of torch."""
    if device.type == "cuda":
        kind = torch.cuda.get_device_name(device)
    elif device.type == "cpu":
        kind = f"CPU with {torch.backends.cpu.get_cpu_capability()}"
    else:
        kind = device.type.upper()
    return f"{kind}, torch {torch.__version__}"


def on_host(values: torch.Tensor) -> NDArray[Any]:
    """Return values as an array of numpy, which shares the memory of a tensor on the CPU.

    From an H100, 52 GB/s arrive in locked memory, 11 in other memory, and 2 in such that was never
    written to before. What is locked stays torch's, and is used again.
    """
    if values.device.type != "cuda":
        found: NDArray[Any] = values.cpu().numpy()
        return found
    # `copy_` waits until the data are there, so that numpy never reads a half-filled array.
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    copied: NDArray[Any] = host.copy_(values).numpy()
    return copied
