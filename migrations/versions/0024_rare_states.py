"""An index of the neurons in states that few are in, for lists of them."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.create_index(
        "ix_listed_neuron_rare",
        "listed_neuron",
        ["run_id", "state", "layer", "neuron"],
        postgresql_where=sa.text("state IN ('failed', 'undefined')"),
    )


def downgrade() -> None:
    op.drop_index("ix_listed_neuron_rare", table_name="listed_neuron")
