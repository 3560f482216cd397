"""The stages of a run, in order.

`collect` reads the corpus; the other stages are about neurons. `choose`, `illustrate`, `observe`,
`revise`, `ablate` and `control` are there only in runs that ask for them. Each neuron goes through
those stages that its run has; `ablate` and `control` are about the neurons marked for them.
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
    "control",
)
STAGES = (COLLECT, *NEURON_STAGES)
GPU_STAGES = frozenset((COLLECT, "observe", "ablate"))
MARKS = {"ablate": "is_ablated", "control": "has_control"}
"""The stages about marked neurons alone, and the column of `neuron` that marks them."""

_ORDER = f"ARRAY{list(NEURON_STAGES)!r}"


def position_sql(column: str) -> str:
    """Return SQL for the position, from 1, of a stage in NEURON_STAGES; NULL for collect."""
    return f"array_position({_ORDER}, {column})"


def concerns_sql(stage: str) -> str:
    """Return SQL for whether a stage, named by a column, is about a row of the table `neuron`."""
    marks = " ".join(f"WHEN '{name}' THEN {column}" for name, column in MARKS.items())
    return f"(CASE {stage} {marks} ELSE true END)"


def up_to(stage: str) -> tuple[str, ...]:
    """Return a neuron stage and all stages before it: a neuron that failed in one has no result."""
    return NEURON_STAGES[: NEURON_STAGES.index(stage) + 1]
