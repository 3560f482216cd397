"""Writers of layers that spawned processes can import: one that works, and some that do not."""

import os
import signal
import time


def write(layer, on_neuron):
    for _ in range(layer + 1):
        on_neuron()


def die(layer, on_neuron):
    write(layer, on_neuron)
    if layer == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def fail(layer, on_neuron):
    if layer == 1:
        raise OSError(28, "No space left on device")


def take_for_ever(layer, on_neuron):
    time.sleep(3600)


class Unreadable:
    """A writer that no process can unpickle, as where a module of it is broken."""

    def __reduce__(self):
        return (os.fdopen, (-1,))

    def __call__(self, layer, on_neuron):
        raise AssertionError("it cannot be called")
