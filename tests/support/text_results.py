"""A result of a text, made by hand."""

import numpy as np

from db.text_results import Component, GroupSum, NeuronEffects, TextResult, TokenLogit


def result_of(n_tokens=3, **changes):
    """Return a result in which neuron 0:1 does nearly all."""
    values = {
        "tokens": [f" t{n}" for n in range(n_tokens)],
        "position": n_tokens - 1,
        "target": TokenLogit(" Paris", 7, 2.5, 0.25),
        "versus": None,
        "logit_difference": 2.0,
        "sums": [GroupSum("explained", 1.5, 1.5), GroupSum("embedding", 0.5, 0.75)],
        "components": [
            Component(
                kind="neuron",
                layer=0,
                index=1,
                position=2,
                activation=0.5,
                direct_effect=1.5,
                estimated_effect=1.25,
            ),
            Component(kind="embedding", index="token", position=2, direct_effect=0.5),
        ],
        "neurons": [
            NeuronEffects(
                layer=0,
                neuron=1,
                activation=0.5,
                peak=2,
                max_activation=2.0,
                direct_effect=1.5,
                estimated_effect=1.25,
                activations=np.arange(n_tokens, dtype=np.float16),
            )
        ],
    }
    return TextResult(**values | changes)
