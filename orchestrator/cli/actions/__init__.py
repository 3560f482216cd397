"""What commands do: for each, a function in the module of the same name."""

import gc
from collections.abc import Callable
from importlib import import_module


def action(command: str) -> Callable[..., None]:
    """Return what a command does. Only its call imports that, as it takes up to two seconds."""
    gc.disable()  # a seventh of the time of importing would go into looking for garbage
    try:
        does: Callable[..., None] = getattr(import_module(f"{__name__}.{command}"), command)
    finally:
        gc.enable()
    return does
