"""The command `migrate`: bring the database to this version's schema, and make its roles."""

import os

import click

from db import migrate as schema
from db import roles
from db.session import transaction
from neurogloss.errors import InputError
from orchestrator.cli.options import json_option
from orchestrator.cli.run_lookup import open_engine
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.environment import upgrade_schema


@click.command()
@click.option(
    "--roles",
    "with_roles",
    is_flag=True,
    help="Also create the roles that deploy/README.md describes.",
)
@json_option
def migrate(with_roles: bool, as_json: bool) -> None:
    """Bring the database to the schema of this version.

    With --roles, as an owner who may create roles, also create the roles neurogloss_orchestrator,
    _worker, _reader and _web, with the passwords in ORCHESTRATOR_DB_PASSWORD, WORKER_DB_PASSWORD,
    READER_DB_PASSWORD and WEB_DB_PASSWORD, and no more rights than each needs.
    """
    passwords = _passwords() if with_roles else {}
    url = os.environ.get("DATABASE_URL")
    if url:
        upgrade_schema(url)
    else:
        open_engine()
    if with_roles:
        with transaction(open_engine()) as connection:
            roles.apply_roles(connection, passwords)
    names = [roles.PREFIX + role for role in roles.ROLES] if with_roles else []
    if as_json:
        print_json({"schema": schema.head(), "roles": names})
        return
    click.echo(f"the database is at schema {schema.head()}")
    if names:
        click.echo(f"roles: {', '.join(names)}")


def _passwords() -> dict[str, str]:
    names = {role: f"{role.upper()}_DB_PASSWORD" for role in roles.ROLES}
    missing = [name for name in names.values() if not os.environ.get(name)]
    if missing:
        raise InputError(f"not set: {', '.join(missing)}")
    return {role: os.environ[name] for role, name in names.items()}
