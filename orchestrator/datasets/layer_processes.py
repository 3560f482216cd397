"""Run one process for each layer of an export, a limited number at a time.

One process per layer frees the memory of that layer's caches when it ends. The main thread starts
and awaits each process itself, since a process pool hangs if a process cannot start, and handles
Ctrl-C only after it has emptied its queue.
"""

import gc
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
"""Write a layer and call the given function after each neuron. Must be picklable."""


class _LayerProcess:
    """A process that writes one layer and sends its error, if any, through a pipe."""

    def __init__(self, context: SpawnContext, write: WriteLayer, layer: int) -> None:
        self._errors, errors = context.Pipe(duplex=False)
        # No lock: a killed process could hold it for ever, and only the child writes.
        self.written = context.Value("q", 0, lock=False)
        self.process: SpawnProcess = context.Process(
            target=_run, args=(write, layer, self.written, errors), name=f"layer-{layer}"
        )
        self.process.start()
        # The child has its own copy. With this one closed, `recv` raises EOFError when it dies.
        errors.close()

    def raise_error(self) -> None:
        """Raise the error of an ended process, if it failed.

        Raises:
            InputError: The process died without an error, or a file could not be written.
        """
        if self.process.exitcode == 0:
            return
        try:
            error = self._errors.recv()
        # It was killed, for want of memory for example, before its error was sent or in the midst
        # of it.
        except (EOFError, pickle.UnpicklingError):
            raise InputError(
                "one of its processes died; run the same command again to continue"
            ) from None
        if isinstance(error, OSError):
            raise InputError(f"a file cannot be written: {error}") from error
        raise error

    def end(self) -> None:
        """Terminate the process, if it still runs, and release its resources."""
        self.process.terminate()
        self.process.join()
        self._errors.close()


def write_layers(
    write: WriteLayer, layers: Iterable[int], processes: int, on_progress: Callable[[int], Any]
) -> None:
    """Write layers, each in a process of its own.

    Args:
        write: Writes one layer.
        layers: The layers to write, in this order.
        processes: The number of layers written at the same time.
        on_progress: Called with the number of neurons written so far.

    Raises:
        InputError: A process died, or a file cannot be written.
    """
    # A forked process would share the parent's connections to the database.
    context = multiprocessing.get_context("spawn")
    n_finished = 0  # neurons of completed layers
    waiting, running = list(reversed(list(layers))), dict[int, _LayerProcess]()
    try:
        while waiting or running:
            while waiting and len(running) < max(1, processes):
                layer = waiting.pop()
                running[layer] = _LayerProcess(context, write, layer)
            sentinels = [writer.process.sentinel for writer in running.values()]
            connection.wait(sentinels, LOOK_EVERY_S)
            for layer, writer in list(running.items()):
                if not writer.process.is_alive():
                    writer.raise_error()
                    n_finished += writer.written.value
                    running.pop(layer).end()
            on_progress(n_finished + sum(writer.written.value for writer in running.values()))
    finally:
        for writer in running.values():
            writer.end()


def _run(write: WriteLayer, layer: int, written: Any, errors: connection.Connection) -> None:
    # Ctrl-C reaches the whole process group. The parent terminates its processes; without this,
    # each would print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    # A neuron's JSON is thousands of lists, for which the collector would run again and again
    # through all that the process keeps: a fifth of the time.
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)

    def on_neuron() -> None:
        written.value += 1

    try:
        write(layer, on_neuron)
    except Exception as error:  # of any class: the parent raises it again
        errors.send(error)
        sys.exit(1)
