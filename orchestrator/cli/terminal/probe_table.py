"""The findings of a probe. Text of servers is untrusted: no markup, no escapes."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from orchestrator.cli.terminal.plain import plain


def probe_table(part: str, report: Mapping[str, Any]) -> Table:
    """Return what works at the model of a part of the configuration, such as `simulator`."""
    table = Table(title=part, title_justify="left", show_header=False)
    for name, kind in report["kinds"].items():
        works = "works" if kind["works"] else "no"
        table.add_row(name, works, Text(plain(kind["detail"])))
    for name, value in report.items():
        if isinstance(value, bool):
            table.add_row(name, "yes" if value else "no", "")
        elif isinstance(value, int):
            table.add_row(name, str(value), "alternatives at a token, at most")
    if "auto" in report:
        chosen = report["auto"]
        table.add_row("auto", str(chosen["kind"] or "none"), Text(plain(chosen["reason"])))
    return table
