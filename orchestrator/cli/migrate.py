"""How the command `migrate` is called."""

from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.options import json_option


@click.command()
@click.option(
    "--roles",
    "with_roles",
    is_flag=True,
    help="Also create the roles that deploy/README.md describes.",
)
@json_option
def migrate(**given: Any) -> None:
    """Bring the database to the schema of this version.

    With --roles, as an owner who may create roles, also create the roles neurogloss_orchestrator,
    _worker, _reader and _web, with the passwords in ORCHESTRATOR_DB_PASSWORD, WORKER_DB_PASSWORD,
    READER_DB_PASSWORD and WEB_DB_PASSWORD, and no more rights than each needs.
    """
    action("migrate")(**given)
