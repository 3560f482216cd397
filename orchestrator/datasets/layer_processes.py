"""A process for each layer of an export, some at a time.

A process of its own gives back what it has cached of a layer when it ends. The main thread starts
and awaits every process itself: a pool hangs if one cannot start, and finishes its queue before an
interruption is heard.
"""

import multiprocessing
import pickle
import signal
import sys
from collections.abc import Callable, Iterable
from multiprocessing import connection
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

from neurogloss.errors import InputError

LOOK_EVERY_S = 0.1

WriteLayer = Callable[[int, Callable[[], None]], None]
"""Writes a layer, and calls the function after each neuron; can be pickled."""


class _LayerProcess:
    """A process that writes one layer; its error comes back through a pipe."""

    def __init__(self, context: SpawnContext, write: WriteLayer, layer: int) -> None:
        self._errors, errors = context.Pipe(duplex=False)
        # Without a lock, which a process that is killed could keep; only the child writes.
        self.written = context.Value("q", 0, lock=False)
        self.process: SpawnProcess = context.Process(
            target=_run, args=(write, layer, self.written, errors), name=f"layer-{layer}"
        )
        self.process.start()
        errors.close()  # the child has the other copy: its end is the end of the pipe

    def raise_error(self) -> None:
        """Raise what the process has failed with, if it has ended and failed."""
        if self.process.exitcode == 0:
            return
        try:
            error = self._errors.recv()
        except (EOFError, pickle.UnpicklingError):
            raise InputError("a process of the export died; the same command goes on") from None
        if isinstance(error, OSError):
            raise InputError(f"a file cannot be written: {error}") from error
        raise error

    def end(self) -> None:
        """End the process, if it has not ended, and give back what it holds."""
        self.process.terminate()
        self.process.join()
        self._errors.close()


def write_layers(
    write: WriteLayer, layers: Iterable[int], processes: int, on_progress: Callable[[int], Any]
) -> None:
    """Write layers, each in a process of its own.

    Args:
        write: Writes one layer.
        layers: Which ones.
        processes: How many at a time.
        on_progress: Told how many neurons are written by now.

    Raises:
        InputError: A process died, or a file cannot be written.
    """
    context = multiprocessing.get_context("spawn")
    n_finished = 0  # neurons of the layers that are done
    waiting, running = list(reversed(list(layers))), dict[int, _LayerProcess]()
    try:
        while waiting or running:
            while waiting and len(running) < max(1, processes):
                layer = waiting.pop()
                running[layer] = _LayerProcess(context, write, layer)
            connection.wait([one.process.sentinel for one in running.values()], LOOK_EVERY_S)
            for layer, one in list(running.items()):
                if not one.process.is_alive():
                    one.raise_error()
                    n_finished += one.written.value
                    running.pop(layer).end()
            on_progress(n_finished + sum(one.written.value for one in running.values()))
    finally:
        for one in running.values():
            one.end()


def _run(write: WriteLayer, layer: int, written: Any, errors: connection.Connection) -> None:
    # Ctrl-C reaches the whole group: the parent ends its processes, which print nothing.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def on_neuron() -> None:
        written.value += 1

    try:
        write(layer, on_neuron)
    except Exception as error:  # any kind: the parent raises it
        errors.send(error)
        sys.exit(1)
