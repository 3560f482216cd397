"""How much of the probability simulations rest on."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("simulation", sa.Column("covered", sa.REAL()))


def downgrade() -> None:
    op.drop_column("simulation", "covered")
