"""Records on a terminal without colours, and in a pipe."""

import math

from orchestrator.cli.terminal.neuron import numbered

TEXTS = [" The", " Rhine", "\n", "!"]


def test_activations_stand_after_the_tokens_that_fire():
    shown = numbered(TEXTS, [0.1, 4.0, -2.0, 2.0], 4.0)
    assert shown.plain == " The Rhine[10]⏎![5]"


def test_a_neuron_that_never_fires_has_no_numbers():
    assert numbered(TEXTS, [0.0, math.nan, -1.0, 0.0], 0.0).plain == " The Rhine⏎!"
