"""What the command `migrate` does: bring the database to this schema, and make its roles."""

import os

import click

from db import migrate as schema
from db import roles
from db.session import transaction
from neurogloss.errors import InputError
from orchestrator.cli.run_lookup import open_engine
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.environment import upgrade_schema


def migrate(with_roles: bool, as_json: bool) -> None:
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
