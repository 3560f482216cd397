"""Tables.

A migration must not break the code before it: workers of both versions may run while it is applied.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "vocabulary",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("n_tokens", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vocabulary")),
        sa.UniqueConstraint("digest", name=op.f("uq_vocabulary_digest")),
    )
    op.create_table(
        "worker",
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "heartbeat_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("finished", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("worker", name=op.f("pk_worker")),
    )
    op.create_table(
        "corpus",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("vocabulary_id", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("n_excerpts", sa.Integer(), nullable=False),
        sa.Column("excerpt_tokens", sa.Integer(), nullable=False),
        sa.Column("n_documents", sa.Integer(), nullable=False),
        sa.Column("n_documents_too_short", sa.Integer(), nullable=False),
        sa.Column("n_windows", sa.Integer(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["vocabulary_id"], ["vocabulary.id"], name=op.f("fk_corpus_vocabulary_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_corpus")),
        sa.UniqueConstraint("digest", name=op.f("uq_corpus_digest")),
    )
    op.create_table(
        "token",
        sa.Column("vocabulary_id", sa.Integer(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["vocabulary_id"], ["vocabulary.id"], name=op.f("fk_token_vocabulary_id")
        ),
        sa.PrimaryKeyConstraint("vocabulary_id", "token", name=op.f("pk_token")),
    )
    op.create_table(
        "excerpt",
        sa.Column("corpus_id", sa.Integer(), nullable=False),
        sa.Column("excerpt", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["corpus_id"], ["corpus.id"], name=op.f("fk_excerpt_corpus_id")),
        sa.PrimaryKeyConstraint("corpus_id", "excerpt", name=op.f("pk_excerpt")),
    )
    op.create_table(
        "run",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("config", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("config_hash", sa.Text(), nullable=False),
        sa.Column("corpus_id", sa.Integer(), nullable=False),
        sa.Column("n_layers", sa.SmallInteger(), nullable=False),
        sa.Column("neurons_per_layer", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), server_default="running", nullable=False),
        sa.Column("pause_cause", sa.Text(), nullable=True),
        sa.Column("pause_reason", sa.Text(), nullable=True),
        sa.Column("budget_usd", sa.Double(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('running', 'paused', 'done')", name=op.f("ck_run_state_is_known")
        ),
        sa.ForeignKeyConstraint(["corpus_id"], ["corpus.id"], name=op.f("fk_run_corpus_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
        sa.UniqueConstraint("name", name=op.f("uq_run_name")),
    )
    op.create_table(
        "call",
        sa.Column("identity", sa.LargeBinary(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("finish_reason", sa.Text(), nullable=True),
        sa.Column("refusal", sa.Text(), nullable=True),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("cached_tokens", sa.Integer(), nullable=False),
        sa.Column("completion_tokens", sa.Integer(), nullable=False),
        sa.Column("usd", sa.Double(), nullable=False),
        sa.Column("wasted_usd", sa.Double(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("latency_ms", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_call_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("identity", name=op.f("pk_call")),
    )
    op.create_index(op.f("ix_call_run_id"), "call", ["run_id"], unique=False)
    op.create_table(
        "collect_bound",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("layer", sa.SmallInteger(), nullable=False),
        sa.Column("boundaries", sa.LargeBinary(), nullable=True),
        sa.Column("top_keys", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_collect_bound_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "layer", name=op.f("pk_collect_bound")),
    )
    op.create_table(
        "collect_part",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("layer", sa.SmallInteger(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("n_tokens", sa.BigInteger(), nullable=False),
        sa.Column("sums", sa.LargeBinary(), nullable=False),
        sa.Column("maxima", sa.LargeBinary(), nullable=True),
        sa.Column("nonfinite", sa.LargeBinary(), nullable=False),
        sa.Column("kept_neurons", sa.LargeBinary(), nullable=False),
        sa.Column("kept_excerpts", sa.LargeBinary(), nullable=False),
        sa.Column("kept_activations", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_collect_part_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "layer", "start", name=op.f("pk_collect_part")),
    )
    op.create_table(
        "explanation",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("layer", sa.SmallInteger(), nullable=False),
        sa.Column("neuron", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("explainer", sa.Text(), nullable=False),
        sa.Column("call", sa.LargeBinary(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_explanation_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "layer", "neuron", name=op.f("pk_explanation")),
    )
    op.create_table(
        "failure",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("layer", sa.SmallInteger(), nullable=False),
        sa.Column("neuron", sa.Integer(), nullable=False),
        sa.Column("failure_class", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column(
            "failed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_failure_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "stage", "layer", "neuron", name=op.f("pk_failure")),
    )
    op.create_table(
        "neuron",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("layer", sa.SmallInteger(), nullable=False),
        sa.Column("neuron", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_neuron_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "layer", "neuron", name=op.f("pk_neuron")),
    )
    op.create_table(
        "neuron_records",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("layer", sa.SmallInteger(), nullable=False),
        sa.Column("neuron", sa.Integer(), nullable=False),
        sa.Column("excerpts", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.Column("activations", sa.LargeBinary(), nullable=False),
        sa.Column("top_records", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.Column("random_records", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.Column("bucket_records", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.Column("buckets", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.Column("quantile_boundaries", postgresql.ARRAY(sa.REAL()), nullable=False),
        sa.Column("max_activation", sa.Double(), nullable=False),
        sa.Column("mean", sa.Double(), nullable=False),
        sa.Column("variance", sa.Double(), nullable=False),
        sa.Column("skewness", sa.Double(), nullable=True),
        sa.Column("kurtosis", sa.Double(), nullable=True),
        sa.Column("n_tokens", sa.BigInteger(), nullable=False),
        sa.Column("undefined_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_neuron_records_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "layer", "neuron", name=op.f("pk_neuron_records")),
    )
    op.create_table(
        "progress",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("layer", sa.SmallInteger(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_result_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_progress_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "stage", "layer", name=op.f("pk_progress")),
    )
    op.create_table(
        "retry",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("layer", sa.SmallInteger(), nullable=False),
        sa.Column("neuron", sa.Integer(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_retry_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "stage", "layer", "neuron", name=op.f("pk_retry")),
    )
    op.create_table(
        "score",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("layer", sa.SmallInteger(), nullable=False),
        sa.Column("neuron", sa.Integer(), nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("score_top", sa.Double(), nullable=True),
        sa.Column("score_random", sa.Double(), nullable=True),
        sa.Column("rsquared", sa.Double(), nullable=True),
        sa.Column("absolute_dev_explained", sa.Double(), nullable=True),
        sa.Column("undefined_reason", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_score_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "layer", "neuron", name=op.f("pk_score")),
    )
    op.create_index("ix_score_best", "score", ["run_id", "score"], unique=False)
    op.create_table(
        "shard",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("step", sa.Text(), server_default="", nullable=False),
        sa.Column("layer", sa.SmallInteger(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("stop", sa.Integer(), nullable=False),
        sa.Column("weight", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("token", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'ready', 'queued', 'leased', 'done')",
            name=op.f("ck_shard_state_is_known"),
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_shard_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shard")),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index(
        "ix_shard_open",
        "shard",
        ["run_id", "stage", "id"],
        unique=False,
        postgresql_where=sa.text("state IN ('ready', 'queued', 'leased')"),
    )
    op.create_index(op.f("ix_shard_run_id"), "shard", ["run_id"], unique=False)
    op.create_table(
        "simulation",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("layer", sa.SmallInteger(), nullable=False),
        sa.Column("neuron", sa.Integer(), nullable=False),
        sa.Column("excerpt", sa.Integer(), nullable=False),
        sa.Column("expected_activations", sa.LargeBinary(), nullable=False),
        sa.Column("activation_scale", sa.Text(), nullable=False),
        sa.Column("simulator", sa.Text(), nullable=False),
        sa.Column("call", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_simulation_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "layer", "neuron", "excerpt", name=op.f("pk_simulation")),
    )
    op.create_table(
        "spend",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("usd", sa.Double(), nullable=False),
        sa.Column("wasted_usd", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_spend_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "stage", "model", name=op.f("pk_spend")),
    )
    op.create_table(
        "throughput",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_throughput_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "stage", "minute", name=op.f("pk_throughput")),
    )
    op.create_table(
        "token_means",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("layer", sa.SmallInteger(), nullable=False),
        sa.Column("neuron", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.LargeBinary(), nullable=False),
        sa.Column("means", sa.LargeBinary(), nullable=False),
        sa.Column("counts", sa.LargeBinary(), nullable=False),
        sa.Column("top_tokens", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.Column("default_mean", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_token_means_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "layer", "neuron", name=op.f("pk_token_means")),
    )


def downgrade() -> None:
    op.drop_table("token_means")
    op.drop_table("throughput")
    op.drop_table("spend")
    op.drop_table("simulation")
    op.drop_index(op.f("ix_shard_run_id"), table_name="shard")
    op.drop_index(
        "ix_shard_open",
        table_name="shard",
        postgresql_where=sa.text("state IN ('ready', 'queued', 'leased')"),
    )
    op.drop_table("shard")
    op.drop_index("ix_score_best", table_name="score")
    op.drop_table("score")
    op.drop_table("retry")
    op.drop_table("progress")
    op.drop_table("neuron_records")
    op.drop_table("neuron")
    op.drop_table("failure")
    op.drop_table("explanation")
    op.drop_table("collect_part")
    op.drop_table("collect_bound")
    op.drop_index(op.f("ix_call_run_id"), table_name="call")
    op.drop_table("call")
    op.drop_table("run")
    op.drop_table("excerpt")
    op.drop_table("token")
    op.drop_table("corpus")
    op.drop_table("worker")
    op.drop_table("vocabulary")
