"""The command `migrate`: bring the database to this version's schema, and make its roles."""

import os

import click

from db import migrate as schema
from db import roles
from db.session import transaction
from neurogloss.errors import InputError
from orchestrator.cli.run_lookup import open_engine
from orchestrator.environment import upgrade_schema


@click.command()
@click.option(
    "--roles",
    "with_roles",
    is_flag=True,
    help="Also create the roles that deploy/README.md describes.",
)
def migrate(with_roles: bool) -> None:
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
    click.echo(f"the database is at schema {schema.head()}")
    if with_roles:
        with transaction(open_engine()) as connection:
            roles.apply_roles(connection, passwords)
        click.echo(f"roles: {', '.join(roles.PREFIX + role for role in roles.ROLES)}")


def _passwords() -> dict[str, str]:
    names = {role: f"{role.upper()}_DB_PASSWORD" for role in roles.ROLES}
    missing = [name for name in names.values() if not os.environ.get(name)]
    if missing:
        raise InputError(f"not set: {', '.join(missing)}")
    return {role: os.environ[name] for role, name in names.items()}
