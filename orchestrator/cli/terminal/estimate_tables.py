"""The estimate of a run, as tables and notes."""

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from neurogloss.config.run import RunConfig
from orchestrator.cli.terminal.plain import plain
from orchestrator.cli.terminal.whole_table import WholeTable

Stage = Mapping[str, Any]  # a stage of the estimate, or its total
COUNTS = ("calls", "prompt_tokens", "cached_tokens", "completion_tokens")
PRICES = ("usd", "usd_with_cache", "usd_in_batches")


def estimate_tables(config: RunConfig, values: Mapping[str, Any]) -> Group:
    """Return the estimate of a run, whose `values` are those of `--json`."""
    heading = f"run {config.name}: {values['neurons']:,} neurons"
    if not values["stages"]:
        return Group(f"{heading}, no calls, no cost")
    parts: list[RenderableType] = [_table(heading, values["stages"], values["total"])]
    if values["other_simulators"]:
        title = "simulate, with another kind of simulator"
        parts.append(_table(title, values["other_simulators"], None))
    return Group(*parts, *(Text(plain(line)) for line in notes(config, values)))


def _table(title: str, stages: Sequence[Stage], total: Stage | None) -> WholeTable:
    numbers = ("calls", "prompt", "cached", "completion", "USD", "cache", "batch", "time")
    table = WholeTable(title, texts=("stage",), numbers=numbers)
    table.add_column("bound by")
    for stage in stages:
        _add_row(table, _name(stage), stage)
    if total is not None:
        _add_row(table, "total", total)
    return table


def _name(stage: Stage) -> str:
    per_call = stage["records_per_call"]
    several = f" x{per_call}" if per_call > 1 else ""
    return f"{stage['stage']} ({stage['kind']}{several})"


def _add_row(table: WholeTable, name: str, values: Stage) -> None:
    bound = values["bound_by"]
    table.add_row(
        name,
        *(f"{values[column]:,}" for column in COUNTS),
        *("-" if values[column] is None else f"{values[column]:,.2f}" for column in PRICES),
        str(timedelta(seconds=math.ceil(values["seconds"][bound]))) if bound else "-",
        bound.replace("_", " ") if bound else "-",
    )


def notes(config: RunConfig, values: Mapping[str, Any]) -> list[str]:
    """Return notes that explain the tables, in sentences."""
    measured = values.get("measured_on")
    found = [
        f"Calls and tokens of a neuron are those of run {measured}, which asked alike; other "
        "simulators are estimated, and so is the time of a call."
        if measured
        else "Completions and the time of a call are assumptions: after a trial with the same "
        "models over a few neurons they are measured, with reasoning and what is asked again.",
        f"Tokens were counted on {values['sample']}, by {values['tokens_counted_by']}.",
        "Cached are the tokens that a prompt "
        "cache may keep (prefixes of 1,024 tokens and more), batch is half the price. The time is "
        "that of the calls, without collecting.",
    ]
    total, budget = values["total"]["usd"], config.budget.usd
    if total and budget and total > budget:
        found.append(
            f"budget.usd = {budget:,.2f} covers {budget / total:.0%} of it: the run pauses there."
        )
    without = {s["model"]: s["endpoint"] for s in values["stages"] if s["usd"] is None}
    found += [
        f'No price is known for {model}: add [endpoints.{endpoint}.prices."{model}"].'
        for model, endpoint in without.items()
    ]
    if "simulator" in config.calling and not config.scoring.control:
        found.append(
            "No control: nothing will say whether the simulator uses explanations. Add control = "
            "0.01 to [scoring]."
        )
    simulated = [stage for stage in values["stages"] if stage["stage"] == "simulate"]
    if config.simulator.kind == "auto" and simulated:
        found.append(
            f"simulator.kind is auto, which asks the endpoint; taken for {simulated[0]['kind']}."
        )
    return found
