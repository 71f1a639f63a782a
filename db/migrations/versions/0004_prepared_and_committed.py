"""What a channel prepared at its receiver, when an attempt came to its public act, and more words.

A delivery keeps its handles (an uploaded picture's id, the key of a record to be) from before anything is
public. Attempts that are open now are taken for public ones: the artbot that made them knew no other. Works
that are approved already say nothing more than they did: no hashtags, no warning, no language.
"""

import sqlalchemy as sa
from alembic import op


revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("handles", sa.Text(), nullable=True))
    op.add_column("attempts", sa.Column("committing_at", sa.Text(), nullable=True))
    for table in ("candidates", "decisions"):
        for column in ("hashtags", "warning", "language"):
            op.add_column(table, sa.Column(column, sa.Text(), nullable=True))
    op.execute("UPDATE attempts SET committing_at = started_at WHERE outcome IS NULL")


def downgrade() -> None:
    raise RuntimeError("artbot's databases only move forward; restore a backup instead")
