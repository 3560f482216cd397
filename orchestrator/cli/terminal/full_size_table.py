"""The full-size calls of a run. Text of servers is untrusted: no markup, no escapes."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from orchestrator.cli.terminal.plain import plain
from orchestrator.cli.terminal.whole_table import WholeTable


def full_size_table(calls: Sequence[Mapping[str, Any]]) -> WholeTable:
    """Return the measured calls of a run, one a stage."""
    numbers = ("prompt tokens", "cached", "answer", "seconds", "tokens/s")
    table = WholeTable("full-size calls", texts=("stage",), numbers=numbers)
    table.add_column("")
    for call in calls:
        table.add_row(
            call["stage"],
            f"{call['prompt_tokens']:,}",
            f"{call['cached_tokens']:,}",
            f"{call['completion_tokens']:,}",
            f"{call['seconds']:.1f}",
            f"{call['tokens_per_second']:,.0f}",
            Text(plain(call["problem"] or "")),
        )
    return table
