"""A process for each layer of an export: progress, and every way in which one can end."""

import os
import signal
import threading
import time

import pytest

from neurogloss.errors import InputError
from orchestrator.datasets.layer_processes import write_layers
from tests.support import layer_writers


def test_every_layer_is_written_and_counted():
    counts = []
    write_layers(layer_writers.write, [0, 1, 2], 2, counts.append)
    assert counts == sorted(counts)
    assert counts[-1] == 1 + 2 + 3


@pytest.mark.parametrize(
    ("writer", "message"),
    [
        pytest.param(layer_writers.die, "one of its processes died", id="killed"),
        pytest.param(layer_writers.fail, "a file cannot be written", id="disk is full"),
        pytest.param(layer_writers.Unreadable(), "one of its processes died", id="no start"),
    ],
)
@pytest.mark.timeout(60)
def test_a_layer_that_cannot_be_written_ends_the_export(writer, message):
    with pytest.raises(InputError, match=message):
        write_layers(writer, [0, 1, 2], 2, lambda n: None)


@pytest.mark.timeout(60)
def test_an_interruption_ends_at_once_whatever_the_layers_do():
    threading.Timer(3.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        write_layers(layer_writers.take_for_ever, list(range(8)), 2, lambda n: None)
    assert time.monotonic() - started < 20
