"""What is told besides works: a table of notices, whose life the triggers guard like the others'.

Nothing that happened before is told. The index on `finished_at` finds what was painted lately.
"""

import sqlalchemy as sa
from alembic import op

from db.migrations.choices import one_of


revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STATES = ("waiting", "sent", "given_up")
# As artbot.domain had them when this was written; `was` is empty where a row begins.
MOVES = (("", "waiting"), ("waiting", "sent"), ("waiting", "given_up"))
IS_RENAMED = (
    "NEW.key <> OLD.key OR NEW.recipient <> OLD.recipient OR NEW.kind <> OLD.kind "
    "OR NEW.subject <> OLD.subject"
)
REFUSED = "the key of a notice never changes"


def upgrade() -> None:
    op.create_index(op.f("ix_batches_finished_at"), "batches", ["finished_at"])
    op.create_table(
        "notices",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("next_at", sa.Text(), nullable=False),
        sa.Column("num_attempts", sa.Integer(), nullable=False),
        sa.Column("sent_at", sa.Text(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint(one_of("state", STATES), name=op.f("ck_notices_state")),
        sa.CheckConstraint(
            "state != 'sent' OR sent_at IS NOT NULL", name=op.f("ck_notices_sent_has_time")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
        sa.UniqueConstraint("key", name=op.f("uq_notices_key")),
        sa.UniqueConstraint(
            "recipient", "kind", "subject", name=op.f("uq_notices_recipient_kind_subject")
        ),
    )
    op.create_index(op.f("ix_notices_state_next_at"), "notices", ["state", "next_at"])
    transitions = sa.table("transitions", *map(sa.column, ("entity", "was", "now")))
    op.bulk_insert(
        transitions, [{"entity": "notice", "was": was, "now": now} for was, now in MOVES]
    )
    if op.get_bind().dialect.name == "postgresql":
        _create_postgresql_triggers()
    else:
        _create_sqlite_triggers()


def _create_sqlite_triggers() -> None:
    known = "SELECT 1 FROM transitions WHERE entity = 'notice' AND now = NEW.state AND was ="
    moved = f"NEW.state <> OLD.state AND NOT EXISTS ({known} OLD.state)"
    for name, before, when, message in (
        ("begin", "INSERT", f"NOT EXISTS ({known} '')", "no such move of a notice"),
        ("move", "UPDATE", moved, "no such move of a notice"),
        ("key", "UPDATE", IS_RENAMED, REFUSED),
    ):
        op.execute(
            f"CREATE TRIGGER notices_{name} BEFORE {before} ON notices WHEN {when} "
            f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
        )


def _create_postgresql_triggers() -> None:
    op.execute(
        "CREATE TRIGGER notices_move BEFORE INSERT OR UPDATE ON notices "
        "FOR EACH ROW EXECUTE FUNCTION artbot_check_move('notice')"
    )
    op.execute(
        f"CREATE TRIGGER notices_key BEFORE UPDATE ON notices FOR EACH ROW WHEN ({IS_RENAMED}) "
        f"EXECUTE FUNCTION artbot_refuse('{REFUSED}')"
    )


def downgrade() -> None:
    raise RuntimeError("artbot's databases only move forward; restore a backup instead")
