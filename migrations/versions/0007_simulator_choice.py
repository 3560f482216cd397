"""Which simulator a run was found to use, frozen with it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("run", sa.Column("simulator", JSONB()))


def downgrade() -> None:
    op.drop_column("run", "simulator")
