"""A delivery can be put on hold, and then it is not sent; what is done in the queue is logged.

Nothing that waits is on hold: the artbot that queued it knew no such thing.
"""

import sqlalchemy as sa
from alembic import op

from db.migrations.choices import replace_choices


revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

OLD_ACTS = ("retry", "posted", "absent", "withdraw", "replay", "pause", "resume", "restore", "rest")
NEW_ACTS = (*OLD_ACTS, "hold", "release", "move")
IS_SENT = "NEW.on_hold AND NEW.state = 'sending'"
REFUSED = "what is on hold is not sent"


def upgrade() -> None:
    replace_choices("interventions", ("act",), OLD_ACTS, NEW_ACTS)
    op.add_column(
        "deliveries",
        sa.Column("on_hold", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    create = "CREATE TRIGGER deliveries_on_hold BEFORE UPDATE ON deliveries"
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"{create} FOR EACH ROW WHEN ({IS_SENT}) EXECUTE FUNCTION artbot_refuse('{REFUSED}')"
        )
    else:
        op.execute(f"{create} WHEN {IS_SENT} BEGIN SELECT RAISE(ABORT, '{REFUSED}'); END")


def downgrade() -> None:
    raise RuntimeError("artbot's databases only move forward; restore a backup instead")
