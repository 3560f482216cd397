"""How the command `embed` is called."""

from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.options import json_option


@click.command()
@click.argument("name", metavar="RUN", required=False)
@click.option("--base-url", help="The endpoint, in place of that of [embeddings].")
@click.option("--api-key-env", help="The variable that holds its key.")
@click.option("--model", help="The model, in place of that of [embeddings].")
@click.option("--dimensions", type=click.IntRange(1, 4000), help="For models with a choice.")
@click.option("--restart", is_flag=True, help="First delete the embeddings that there are.")
@click.option("--dry-run", is_flag=True, help="Only say what it would cost.")
@json_option
def embed(**given: Any) -> None:
    """Embed the explanations of run RUN, or of the latest one, for searches by meaning.

    Only those that are new or have changed are sent. Interrupted, it goes on where it was. The
    database needs the extension pgvector, which the embedded one has.
    """
    action("embed")(**given)
