"""First tables: checkpoints, batches, candidates, decisions, deliveries, attempts.

A migration is run on people's only copy. It must succeed or change nothing, keep every row, and
never import db.models (they will have moved on). Raise db.engine.HEAD in the same commit.
"""

import sqlalchemy as sa
from alembic import op


revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("first_used_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_checkpoints")),
    )
    op.create_table(
        "batches",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("schedule", sa.Text(), nullable=False),
        sa.Column("local_date", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("num_candidates", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.Text(), nullable=False),
        sa.Column("planned_at", sa.Text(), nullable=False),
        sa.Column("finished_at", sa.Text(), nullable=True),
        sa.Column("checkpoint_sha256", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state != 'skipped' OR reason IS NOT NULL",
            name=op.f("ck_batches_skipped_has_reason"),
        ),
        sa.CheckConstraint(
            "state IN ('planned', 'generating', 'ready', 'partial', 'failed', 'skipped')",
            name=op.f("ck_batches_state"),
        ),
        sa.CheckConstraint(
            "state IN ('planned', 'skipped') OR checkpoint_sha256 IS NOT NULL",
            name=op.f("ck_batches_made_from_checkpoint"),
        ),
        sa.ForeignKeyConstraint(
            ["checkpoint_sha256"],
            ["checkpoints.sha256"],
            name=op.f("fk_batches_checkpoint_sha256"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
        sa.UniqueConstraint("key", name=op.f("uq_batches_key")),
        sa.UniqueConstraint(
            "schedule",
            "local_date",
            "number",
            name=op.f("uq_batches_schedule_local_date_number"),
        ),
    )
    op.create_index(op.f("ix_batches_state"), "batches", ["state"])

    op.create_table(
        "candidates",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("batch_id", sa.Integer(), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("checkpoint_sha256", sa.Text(), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("row_version", sa.Integer(), nullable=False),
        sa.Column("planned_at", sa.Text(), nullable=False),
        sa.Column("rendered_at", sa.Text(), nullable=True),
        sa.Column("num_render_errors", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("num_bytes", sa.Integer(), nullable=True),
        sa.Column("image_sha256", sa.Text(), nullable=True),
        sa.Column("pixel_sha256", sa.Text(), nullable=True),
        sa.Column("environment", sa.Text(), nullable=True),
        sa.Column("approved_at", sa.Text(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("alt", sa.Text(), nullable=True),
        sa.Column("caption", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state != 'approved' OR approved_at IS NOT NULL",
            name=op.f("ck_candidates_approved_has_time"),
        ),
        sa.CheckConstraint(
            "state IN ('planned', 'failed') OR (path IS NOT NULL AND image_sha256 IS NOT NULL AND pixel_sha256 IS NOT NULL)",
            name=op.f("ck_candidates_seen_has_picture"),
        ),
        sa.CheckConstraint(
            "state IN ('planned', 'pending', 'approved', 'rejected', 'failed')",
            name=op.f("ck_candidates_state"),
        ),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_candidates_batch_id")),
        sa.ForeignKeyConstraint(
            ["checkpoint_sha256"],
            ["checkpoints.sha256"],
            name=op.f("fk_candidates_checkpoint_sha256"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_candidates")),
        sa.UniqueConstraint("batch_id", "index", name=op.f("uq_candidates_batch_id_index")),
        sa.UniqueConstraint("name", name=op.f("uq_candidates_name")),
    )
    op.create_index(op.f("ix_candidates_state"), "candidates", ["state"])

    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("candidate_id", sa.Integer(), nullable=False),
        sa.Column("was", sa.Text(), nullable=False),
        sa.Column("now", sa.Text(), nullable=False),
        sa.Column("undoes", sa.Integer(), nullable=True),
        sa.Column("image_sha256", sa.Text(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("alt", sa.Text(), nullable=True),
        sa.Column("caption", sa.Text(), nullable=True),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "now IN ('planned', 'pending', 'approved', 'rejected', 'failed')",
            name=op.f("ck_decisions_now"),
        ),
        sa.CheckConstraint(
            "was IN ('planned', 'pending', 'approved', 'rejected', 'failed')",
            name=op.f("ck_decisions_was"),
        ),
        sa.ForeignKeyConstraint(
            ["candidate_id"], ["candidates.id"], name=op.f("fk_decisions_candidate_id")
        ),
        sa.ForeignKeyConstraint(["undoes"], ["decisions.id"], name=op.f("fk_decisions_undoes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        sa.UniqueConstraint("undoes", name=op.f("uq_decisions_undoes")),
    )
    op.create_index(op.f("ix_decisions_candidate_id"), "decisions", ["candidate_id"])

    op.create_table(
        "deliveries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("candidate_id", sa.Integer(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("delivery_key", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("num_attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("delivered_at", sa.Text(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state != 'delivered' OR delivered_at IS NOT NULL",
            name=op.f("ck_deliveries_delivered_has_time"),
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'sending', 'retry_wait', 'delivered', 'failed', 'cancelled')",
            name=op.f("ck_deliveries_state"),
        ),
        sa.ForeignKeyConstraint(
            ["candidate_id"], ["candidates.id"], name=op.f("fk_deliveries_candidate_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint(
            "candidate_id", "channel", name=op.f("uq_deliveries_candidate_id_channel")
        ),
        sa.UniqueConstraint("delivery_key", name=op.f("uq_deliveries_delivery_key")),
    )
    op.create_index(op.f("ix_deliveries_state_next_at"), "deliveries", ["state", "next_at"])

    op.create_table(
        "attempts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("delivery_id", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Text(), nullable=False),
        sa.Column("body_sha256", sa.Text(), nullable=False),
        sa.Column("finished_at", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "outcome IS NULL OR outcome IN ('delivered', 'rejected', 'unavailable', 'unknown')",
            name=op.f("ck_attempts_outcome"),
        ),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], name=op.f("fk_attempts_delivery_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
    )
    op.create_index(op.f("ix_attempts_delivery_id"), "attempts", ["delivery_id"])


def downgrade() -> None:
    raise RuntimeError("artbot's databases only move forward; restore a backup instead")
