"""Estimates from the calls of an earlier run, in place of assumptions.

They include what cannot be counted beforehand: tokens of reasoning, answers that had to be asked
for again, neurons that never fire, and the hits of the prompt cache.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from db import runs
from db.stage_spend import StageSpend, stage_spend
from neurogloss.config.run import RunConfig
from neurogloss.neurons.control import n_drawn
from orchestrator.estimate.counting import StageEstimate, recounted
from worker.run import Run

FEWEST = 10  # neurons that a run has to have finished
LOOKED_AT = 100  # of the latest runs that are done
COUNTS = ("calls", "prompt_tokens", "cached_tokens", "completion_tokens")


@dataclass(frozen=True, slots=True)
class Measured:
    """The calls of a run with the same models and prompts, by (stage, model)."""

    run: str
    neurons: int
    spent: dict[tuple[str, str], StageSpend]


def find_measured(connection: Connection, config: RunConfig) -> Measured | None:
    """Return the calls of the latest such run that is done and has at least `FEWEST` neurons."""
    for stored in runs.done(connection, LOOKED_AT):
        if _what_is_asked(Run.of(stored).config) == _what_is_asked(config):
            n_neurons = runs.count_neurons(connection, stored.id)
            spent = {(row.stage, row.model): row for row in stage_spend(connection, stored.id)}
            if n_neurons >= FEWEST and spent:
                return Measured(stored.name, n_neurons, spent)
    return None


def _what_is_asked(config: RunConfig) -> list[object]:
    """Return the part of a configuration on which prompts and answers of a neuron depend."""
    urls = {name: endpoint.base_url for name, endpoint in config.endpoints.items()}
    roles = (config.explainer, config.simulator, config.scorer)
    return [
        *((role, urls.get(role.endpoint)) for role in roles),
        # Neither changes what is asked about a neuron.
        config.scoring.model_copy(update={"control": 0.0, "baselines": True}),
        config.corpus.excerpt_tokens,
        config.corpus.short,
        config.records,
    ]


def as_measured(
    config: RunConfig,
    n_neurons: int,
    stages: Sequence[StageEstimate],
    measured: Measured,
    latency_s: float | None,
) -> Iterator[StageEstimate]:
    """Yield stages with the counts that were measured; those that were not stay as estimated."""
    together: dict[tuple[str, str], list[StageEstimate]] = defaultdict(list)
    for stage in stages:
        together[stage.stage, stage.model].append(stage)
    for stage in stages:
        alike, spent = together[stage.stage, stage.model], None
        spent = measured.spent.get((stage.stage, stage.model))
        if spent is None:
            yield stage
            continue
        n = n_drawn(n_neurons, config.scoring.control) if stage.stage == "control" else n_neurons
        scale = n / spent.neurons
        counts = [
            round(scale * getattr(spent, name) * _share(stage, alike, name)) for name in COUNTS
        ]
        yield recounted(stage, config.endpoints[stage.endpoint], *counts, latency_s=latency_s)


def _share(stage: StageEstimate, alike: Sequence[StageEstimate], name: str) -> float:
    """Return how much of the counts of stages that were measured together is that of one."""
    total: int = sum(getattr(other, name) for other in alike)
    own: int = getattr(stage, name)
    return own / total if total else 1 / len(alike)
