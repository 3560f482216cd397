"""What a terminal shows of a run. Explanations and tokens are untrusted: no markup, no escapes."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine

from db import results
from db.results import LayerMeans, NeuronSummary
from db.session import transaction
from orchestrator.cli.terminal.plain import plain as plain

Row = Mapping[Any, Any]  # what SQLAlchemy's RowMapping is to its reader


def number(value: float | None, digits: int = 3) -> str:
    """Return a number, or a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def progress_table(
    name: str, stages: Sequence[Row], costs: Sequence[Row], failures: Sequence[Row]
) -> Group:
    """Return the table of a run's stages, with its cost and its failures below."""
    table = Table(title=f"run {name}", title_justify="left")
    table.add_column("stage")
    for heading in ("done", "total", "%", "failed", "in flight", "per minute", "ETA"):
        table.add_column(heading, justify="right")
    for row in stages:
        table.add_row(
            f"{row['stage']} ({row['unit']})",
            f"{row['done']:,}",
            f"{row['total']:,}",
            f"{row['percent'] or 0:.1f}",
            f"{row['failed']:,}",
            f"{row['in_flight']:,}",
            f"{row['per_minute']:,.0f}",
            _eta(row["eta"]),
        )
    usd = sum(row["usd"] for row in costs)
    projected = sum(row["usd_projected"] or row["usd"] for row in costs)
    calls = sum(row["calls"] for row in costs)
    lines = [Text(f"calls {calls:,}   cost {usd:.4f} USD   projected {projected:.2f} USD")]
    lines += [
        Text(f"failed in {f['stage']}: {f['n']:,} x {f['class']}, e.g. {plain(f['example'])[:90]}")
        for f in failures
    ]
    return Group(table, *lines)


def _eta(eta: timedelta | None) -> str:
    return "-" if eta is None else str(timedelta(seconds=round(eta.total_seconds())))


def progress_line(stages: Sequence[Row]) -> str:
    """Return the progress of all stages on one line."""
    return "   ".join(
        f"{row['stage']} {row['done'] + row['failed']:,}/{row['total']:,}" for row in stages
    )


def summary(console: Console, engine: Engine, run_id: int, name: str) -> None:
    """Print what a run found: score distribution, layer means, the best neurons."""
    with transaction(engine) as connection:
        histogram = results.score_histogram(connection, run_id)
        means = results.layer_means(connection, run_id)
        best = results.best(connection, name, 10)
    if not histogram:
        return
    console.print(_histogram(histogram), _layer_table(means), best_table(best), sep="\n")


def _histogram(histogram: Mapping[int, int]) -> Table:
    table = Table(title="scores", title_justify="left")
    table.add_column("score")
    table.add_column("neurons", justify="right")
    table.add_column("")
    most = max(histogram.values())
    for tenth in range(min(histogram), 10):
        count = histogram.get(tenth, 0)
        label = "below 0" if tenth < 0 else f"{tenth / 10:.1f} to {(tenth + 1) / 10:.1f}"
        table.add_row(label, f"{count:,}", "█" * round(40 * count / most))
    return table


def _layer_table(means: Sequence[LayerMeans]) -> Table:
    table = Table(title="mean score by layer", title_justify="left")
    for heading in ("layer", "neurons", "score", "top only", "random only"):
        table.add_column(heading, justify="right")
    for row in means:
        scores = map(number, (row.score, row.score_top, row.score_random))
        table.add_row(str(row.layer), f"{row.n:,}", *scores)
    return table


def best_table(best: Sequence[NeuronSummary]) -> Table:
    """Return a table of neurons with score and explanation."""
    table = Table(title="neurons", title_justify="left")
    table.add_column("neuron", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("explanation")
    for row in best:
        explanation = plain(row.explanation or f"({row.state}: {row.reason})")
        table.add_row(f"{row.layer} {row.neuron}", number(row.score), Text(explanation))
    return table
