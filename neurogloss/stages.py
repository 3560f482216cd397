"""The stages of a run, in their order.

`collect` reads text; the others are about neurons. `choose` to `revise` and `ablate` are there only
in runs that ask for them. A neuron goes from one stage that its run has to the next.
"""

COLLECT = "collect"
NEURON_STAGES = (
    "explain",
    "choose",
    "illustrate",
    "observe",
    "revise",
    "simulate",
    "score",
    "ablate",
)
STAGES = (COLLECT, *NEURON_STAGES)
GPU_STAGES = frozenset((COLLECT, "observe", "ablate"))
ABLATE = "ablate"  # whose shards are about the neurons that are marked for it

_ORDER = f"ARRAY{list(NEURON_STAGES)!r}"


def place_of(column: str) -> str:
    """Return SQL for the place of a stage among those of neurons; NULL for collect."""
    return f"array_position({_ORDER}, {column})"


def up_to(stage: str) -> tuple[str, ...]:
    """Return a stage of neurons and those before it: without any of them it has no result."""
    return NEURON_STAGES[: NEURON_STAGES.index(stage) + 1]
