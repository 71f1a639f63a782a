"""${message}

A migration is run on people's only copy. It must succeed or change nothing, keep every row, and
never import db.models (they will have moved on). Raise db.engine.HEAD in the same commit.
"""

from alembic import op
import sqlalchemy as sa
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    raise RuntimeError("artbot's databases only move forward; restore a backup instead")
