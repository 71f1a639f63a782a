"""What a picture looks like, in a few letters, so that those that are alike can be looked at together; and indexes for
what a person who chooses looks at many times a day.

Works that are there say nothing of how they look.
"""

import sqlalchemy as sa
from alembic import op


revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("candidates", sa.Column("likeness", sa.Text(), nullable=True))
    op.drop_index(op.f("ix_candidates_state"), "candidates")
    op.create_index(op.f("ix_candidates_state_batch_id"), "candidates", ["state", "batch_id"])
    op.create_index(op.f("ix_batches_due_at"), "batches", ["due_at"])
    op.create_index(op.f("ix_decisions_at"), "decisions", ["at"])


def downgrade() -> None:
    raise RuntimeError("artbot's databases only move forward; restore a backup instead")
