"""A candidate can be put off until later, and be given stars; an approval notes where the work goes.

Every work that is there has no stars. Decisions of before say nothing of stars and channels, and their links in the
hash chain stay as they are.
"""

import sqlalchemy as sa
from alembic import op

from db.migrations.choices import add_constraints, replace_choices


revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

OLD_CANDIDATE = (
    "planned",
    "pending",
    "approved",
    "rejected",
    "expired",
    "quarantined",
    "failed",
)
NEW_CANDIDATE = ("planned", "pending", "later", *OLD_CANDIDATE[2:])
# As artbot.domain had them when this was written.
MOVES = (
    "pending>later later>pending later>approved later>rejected later>expired later>quarantined "
    "approved>later rejected>later expired>later quarantined>later"
)


def upgrade() -> None:
    replace_choices("candidates", ("state",), OLD_CANDIDATE, NEW_CANDIDATE)
    replace_choices("decisions", ("was", "now"), OLD_CANDIDATE, NEW_CANDIDATE)
    op.add_column(
        "candidates", sa.Column("stars", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column("decisions", sa.Column("stars", sa.Integer(), nullable=True))
    op.add_column("decisions", sa.Column("channels", sa.Text(), nullable=True))
    for table in ("candidates", "decisions"):
        add_constraints(table, {f"ck_{table}_stars": "CHECK (stars BETWEEN 0 AND 5)"})
    transitions = sa.table("transitions", *map(sa.column, ("entity", "was", "now")))
    op.bulk_insert(
        transitions,
        [
            {"entity": "candidate", "was": was, "now": now}
            for was, _, now in (move.partition(">") for move in MOVES.split())
        ],
    )


def downgrade() -> None:
    raise RuntimeError("artbot's databases only move forward; restore a backup instead")
