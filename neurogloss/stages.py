"""The stages of a run, in order.

`collect` reads the corpus; the other stages are about neurons. `choose`, `illustrate`, `observe`,
`revise` and `ablate` are there only in runs that ask for them. Each neuron goes through those
stages that its run has.
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
ABLATE = "ablate"  # has shards only where neurons are marked for ablation

_ORDER = f"ARRAY{list(NEURON_STAGES)!r}"


def position_sql(column: str) -> str:
    """Return SQL for the position, from 1, of a stage in NEURON_STAGES; NULL for collect."""
    return f"array_position({_ORDER}, {column})"


def up_to(stage: str) -> tuple[str, ...]:
    """Return a neuron stage and all stages before it: a neuron that failed in one has no result."""
    return NEURON_STAGES[: NEURON_STAGES.index(stage) + 1]
