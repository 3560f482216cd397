"""Records of different lengths, and published scores that are not those of the records."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    lengths = sa.Column("record_tokens", postgresql.ARRAY(sa.Integer()), nullable=True)
    op.add_column("neuron_records", lengths)
    op.add_column("imported_neuron", sa.Column("published_scores", sa.LargeBinary()))


def downgrade() -> None:
    op.drop_column("imported_neuron", "published_scores")
    op.drop_column("neuron_records", "record_tokens")
