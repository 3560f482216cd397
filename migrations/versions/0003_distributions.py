"""What answers and simulations keep of log probabilities."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("call", sa.Column("distributions", sa.LargeBinary()))
    op.add_column("simulation", sa.Column("distribution", sa.LargeBinary()))


def downgrade() -> None:
    op.drop_column("simulation", "distribution")
    op.drop_column("call", "distributions")
