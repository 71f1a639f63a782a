"""A candidate can descend from others: its parents stand in its row, and never change.

Every work that is there has none.
"""

import sqlalchemy as sa
from alembic import op

from db.migrations.choices import add_constraints


revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

PARENTS = ("parent_id", "other_parent_id")
CONSTRAINTS = {
    **{
        f"fk_candidates_{parent}": f"FOREIGN KEY({parent}) REFERENCES candidates (id)"
        for parent in PARENTS
    },
    "ck_candidates_parents_came_before": "CHECK (parent_id < id AND other_parent_id < id)",
    "ck_candidates_parents_are_two": (
        "CHECK (other_parent_id IS NULL OR (parent_id IS NOT NULL AND other_parent_id != parent_id))"
    ),
}
IS_ANOTHER = (
    "NEW.batch_id <> OLD.batch_id OR NEW.name <> OLD.name OR NEW.seed <> OLD.seed "
    "OR NEW.checkpoint_sha256 <> OLD.checkpoint_sha256 OR NEW.recipe <> OLD.recipe "
    # No row has the number 0.
    "OR COALESCE(NEW.parent_id, 0) <> COALESCE(OLD.parent_id, 0) "
    "OR COALESCE(NEW.other_parent_id, 0) <> COALESCE(OLD.other_parent_id, 0)"
)
REFUSED = "what a candidate is made from never changes"


def upgrade() -> None:
    for parent in PARENTS:
        op.add_column("candidates", sa.Column(parent, sa.Integer(), nullable=True))
    add_constraints("candidates", CONSTRAINTS)
    for parent in PARENTS:
        op.create_index(op.f(f"ix_candidates_{parent}"), "candidates", [parent])
    create = "CREATE TRIGGER candidates_origin BEFORE UPDATE ON candidates"
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER candidates_origin ON candidates")
        op.execute(
            f"{create} FOR EACH ROW WHEN ({IS_ANOTHER}) EXECUTE FUNCTION artbot_refuse('{REFUSED}')"
        )
    else:
        op.execute("DROP TRIGGER candidates_origin")
        op.execute(f"{create} WHEN {IS_ANOTHER} BEGIN SELECT RAISE(ABORT, '{REFUSED}'); END")


def downgrade() -> None:
    raise RuntimeError("artbot's databases only move forward; restore a backup instead")
