"""The folder of a run's file, from which the relative paths in it start."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    op.add_column("run", sa.Column("folder", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("run", "folder")
