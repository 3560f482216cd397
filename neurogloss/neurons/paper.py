"""The per-layer means that the paper published for GPT-2 XL.

"Language models can explain neurons in language models" (S. Bills et al., OpenAI, 2023), sections
"Results" and "Baselines": correlation scores over top and random excerpts, explained and simulated
by GPT-4. The paper shows them as a plot; `paper.csv` has the values read from it, to within 0.003.
At layer 0 the line of `weights` is steep, and the value 0.644 may be 0.02 too low; at layer 40 the
line is hidden, and the value is missing.
"""

import csv
from pathlib import Path

MODEL = "gpt2-xl"
N_LAYERS = 48
MEAN_SCORE = 0.151  # over all neurons, from the paper's text
BASELINES = ("lookup", "weights")  # the paper's baselines that runs have as well

_FILE = Path(__file__).with_name("paper.csv")


def layer_means() -> dict[str, list[float | None]]:
    """Return the mean score of each layer, (N_LAYERS,), by kind of prediction; None if unknown."""
    with _FILE.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    kinds = [kind for kind in rows[0] if kind != "layer"]
    return {kind: [float(row[kind]) if row[kind] else None for row in rows] for kind in kinds}


def layer_at_depth(layer: int, n_layers: int) -> int:
    """Return the paper's layer at the relative depth of a layer of another model."""
    # First to first and last to last layer.
    return round(layer * (N_LAYERS - 1) / max(1, n_layers - 1))
