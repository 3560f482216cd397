"""Records on a terminal without colours, and in a pipe."""

import numpy as np

from orchestrator.cli.neuron_values import activations_of
from orchestrator.cli.terminal.neuron import ShownRecord, ShownRecords, numbered

TEXTS = [" The", " Rhine", "\n", "!"]


def test_activations_stand_after_the_tokens_that_fire():
    shown = numbered(TEXTS, np.array([0.1, 4.0, -2.0, 2.0], np.float16), 4.0)
    assert shown.plain == " The Rhine[10]⏎![5]"


def test_a_neuron_that_never_fires_has_no_numbers():
    assert numbered(TEXTS, np.array([0.0, np.nan, -1.0, 0.0]), 0.0).plain == " The Rhine⏎!"


def test_records_in_json_have_every_activation():
    record = ShownRecord("top", 7, TEXTS, np.array([0.0, 4.0, 0.5, -0.25], np.float16))
    values = activations_of(ShownRecords(None, None, [record]))
    assert values["statistics"] is None
    assert values["records"] == [
        {"kind": "top", "excerpt": 7, "tokens": TEXTS, "activations": [0.0, 4.0, 0.5, -0.25]}
    ]
