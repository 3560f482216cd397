"""How the command `import` is called."""

import re
from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.options import json_option


class _Layers(click.ParamType[frozenset[int]]):
    """Reads `0,5-7`."""

    name = "0,5-7"

    def convert(self, value: Any, param: Any, ctx: Any) -> frozenset[int]:
        """Return the layers."""
        parts = [re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", part) for part in value.split(",")]
        if not all(parts):
            self.fail(f"{value!r} is not of the form 0,5-7", param, ctx)
        ends = [(int(part[1]), int(part[2] or part[1])) for part in parts if part]
        layers = frozenset(layer for first, last in ends for layer in range(first, last + 1))
        if not layers:
            self.fail(f"{value!r} names no layer", param, ctx)
        return layers


@click.command(name="import")
@click.argument("source")
@click.option("--format", "format_name", type=click.Choice(["openai"]), default="openai")
@click.option("--name", required=True, help="Name of the new run.")
@click.option("--subject", help="Subject model, such as gpt2-xl, if the dataset does not name it.")
@click.option("--layers", type=_Layers(), help="Import only these layers. Default: all.")
@click.option(
    "--related", is_flag=True, help="Also download related neurons and tokens from a server."
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 64),
    default=8,
    show_default=True,
    help="How many files to read at the same time; too many overload a server.",
)
@click.option(
    "--restart", is_flag=True, help="Delete an unfinished import of this name and start again."
)
@json_option
def import_(**given: Any) -> None:
    """Import the dataset in SOURCE, a folder or an https:// URL, as a run.

    For the datasets of OpenAI, SOURCE is the URL that their repository names; add --subject
    gpt2-xl or gpt2. The run is visible once it is complete; the same command continues an import
    that was interrupted.
    """
    action("import_")(**given)
