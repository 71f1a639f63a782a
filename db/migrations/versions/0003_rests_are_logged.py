"""A channel that begins to rest is told in the log; a restore says up to which day works are doubted.

A migration is run on people's only copy. It must succeed or change nothing, keep every row, and
never import db.models (they will have moved on). Raise db.engine.HEAD in the same commit.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa
from alembic import op

from db.migrations.choices import replace_choices


revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

OLD_ACTS = ("retry", "posted", "absent", "withdraw", "replay", "pause", "resume", "restore")
NEW_ACTS = (*OLD_ACTS, "rest")
EASTERNMOST = timedelta(hours=14)  # no zone is further ahead of UTC


def upgrade() -> None:
    replace_choices("interventions", ("act",), OLD_ACTS, NEW_ACTS)
    op.add_column("workplace", sa.Column("doubted_until", sa.Text(), nullable=True))
    bind = op.get_bind()
    restored_at = bind.execute(sa.text("SELECT restored_at FROM workplace")).scalar_one()
    if restored_at is not None:
        day = (datetime.fromisoformat(restored_at) + EASTERNMOST).date().isoformat()
        bind.execute(sa.text("UPDATE workplace SET doubted_until = :day"), {"day": day})


def downgrade() -> None:
    raise RuntimeError("artbot's databases only move forward; restore a backup instead")
