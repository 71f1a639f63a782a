"""What the database refuses: illegal moves, changed origins, a rewritten past. And what it needs to know.

New states (a work expired or quarantined; a delivery uncertain, held, dead), the moves between them as
rows of `transitions`, triggers that hold everybody to them, channels, interventions, the workplace's own
row. Works on a populated database, whole or not at all.
"""

import secrets

import sqlalchemy as sa
from alembic import op

from db.migrations.choices import one_of, replace_choices


revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

OLD_CANDIDATE = ("planned", "pending", "approved", "rejected", "failed")
NEW_CANDIDATE = (
    "planned",
    "pending",
    "approved",
    "rejected",
    "expired",
    "quarantined",
    "failed",
)
OLD_DELIVERY = ("queued", "sending", "retry_wait", "delivered", "failed", "cancelled")
NEW_DELIVERY = (
    "queued",
    "sending",
    "retry_wait",
    "delivered",
    "uncertain",
    "held",
    "failed",
    "dead",
    "cancelled",
)
CHANNEL = ("active", "paused", "disabled")
ACTS = ("retry", "posted", "absent", "withdraw", "replay", "pause", "resume", "restore")

# As artbot.domain had them when this was written; `was` is empty where a row begins.
TRANSITIONS = {
    "batch": "planned skipped planned>generating planned>skipped generating>ready "
    "generating>partial generating>failed",
    "candidate": "planned planned>pending planned>failed pending>approved pending>rejected "
    "pending>expired pending>quarantined approved>quarantined approved>pending rejected>pending "
    "expired>pending quarantined>pending quarantined>approved",
    "delivery": "queued uncertain queued>sending retry_wait>sending sending>delivered "
    "sending>retry_wait sending>uncertain sending>held sending>failed sending>dead "
    "uncertain>delivered uncertain>queued queued>uncertain retry_wait>uncertain held>uncertain failed>uncertain dead>uncertain "
    "cancelled>uncertain queued>held "
    "retry_wait>held held>queued failed>queued dead>queued delivered>queued cancelled>queued "
    "queued>cancelled retry_wait>cancelled held>cancelled failed>cancelled dead>cancelled",
    "channel": "active active>paused active>disabled paused>active disabled>active",
}
TABLES = {
    "batch": "batches",
    "candidate": "candidates",
    "delivery": "deliveries",
    "channel": "channels",
}
# A trigger refuses: (table, name, before what, when, what is said). The conditions are plain SQL that
# both databases understand.
REFUSALS = (
    (
        "candidates",
        "origin",
        "UPDATE",
        "NEW.batch_id <> OLD.batch_id OR NEW.name <> OLD.name OR NEW.seed <> OLD.seed "
        "OR NEW.checkpoint_sha256 <> OLD.checkpoint_sha256 OR NEW.recipe <> OLD.recipe",
        "what a candidate is made from never changes",
    ),
    (
        "deliveries",
        "key",
        "UPDATE",
        "NEW.candidate_id <> OLD.candidate_id OR NEW.channel <> OLD.channel "
        "OR NEW.delivery_key <> OLD.delivery_key",
        "the key of a delivery never changes",
    ),
    (
        "attempts",
        "closed",
        "UPDATE",
        "OLD.outcome IS NOT NULL OR NEW.delivery_id <> OLD.delivery_id",
        "an attempt that ended never changes",
    ),
    ("decisions", "past", "UPDATE", "", "decisions are only ever added to"),
    ("interventions", "past", "UPDATE", "", "interventions are only ever added to"),
    ("decisions", "kept", "DELETE", "", "decisions are only ever added to"),
    ("interventions", "kept", "DELETE", "", "interventions are only ever added to"),
    ("attempts", "kept", "DELETE", "", "attempts are only ever added to"),
    ("candidates", "kept", "DELETE", "", "candidates are never removed"),
    ("deliveries", "kept", "DELETE", "", "deliveries are never removed"),
    (
        "batches",
        "kept",
        "DELETE",
        "OLD.state NOT IN ('planned', 'skipped')",
        "a batch that was begun is never removed",
    ),
)


def upgrade() -> None:
    replace_choices("candidates", ("state",), OLD_CANDIDATE, NEW_CANDIDATE)
    replace_choices("decisions", ("was", "now"), OLD_CANDIDATE, NEW_CANDIDATE)
    replace_choices("deliveries", ("state",), OLD_DELIVERY, NEW_DELIVERY)
    op.add_column("decisions", sa.Column("chain", sa.Text(), nullable=True))
    op.add_column("deliveries", sa.Column("remote_url", sa.Text(), nullable=True))
    op.add_column("attempts", sa.Column("epoch", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "interventions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("delivery_id", sa.Integer(), nullable=True),
        sa.Column("was", sa.Text(), nullable=True),
        sa.Column("now", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("chain", sa.Text(), nullable=True),
        sa.CheckConstraint(one_of("act", ACTS), name=op.f("ck_interventions_act")),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], name=op.f("fk_interventions_delivery_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_interventions")),
    )
    op.create_index(op.f("ix_interventions_delivery_id"), "interventions", ["delivery_id"])
    op.create_table(
        "channels",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("num_failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", sa.Text(), nullable=True),
        sa.Column("rests_until", sa.Text(), nullable=True),
        sa.CheckConstraint(one_of("state", CHANNEL), name=op.f("ck_channels_state")),
        sa.CheckConstraint(
            "state = 'active' OR reason IS NOT NULL", name=op.f("ck_channels_stopped_has_reason")
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_channels")),
    )
    op.create_table(
        "refused_checkpoints",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("refused_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_refused_checkpoints")),
    )
    workplace = op.create_table(
        "workplace",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("workplace_id", sa.Text(), nullable=False),
        sa.Column("generation", sa.Text(), nullable=False),
        sa.Column("restored_at", sa.Text(), nullable=True),
        sa.Column("backup_at", sa.Text(), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("host", sa.Text(), nullable=True),
        sa.Column("leased_until", sa.Text(), nullable=True),
        sa.Column("clock_at", sa.Text(), nullable=True),
        sa.Column("boot_id", sa.Text(), nullable=True),
        sa.Column("boot_s", sa.Double(), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_workplace_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workplace")),
    )
    op.bulk_insert(
        workplace,
        [
            {
                "id": 1,
                "workplace_id": secrets.token_hex(16),
                "generation": secrets.token_hex(8),
                "epoch": 0,
            }
        ],
    )
    transitions = op.create_table(
        "transitions",
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("was", sa.Text(), nullable=False),
        sa.Column("now", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("entity", "was", "now", name=op.f("pk_transitions")),
    )
    rows = []
    for entity, moves in TRANSITIONS.items():
        for move in moves.split():
            was, _, now = move.rpartition(">")
            rows.append({"entity": entity, "was": was, "now": now})
    op.bulk_insert(transitions, rows)
    _create_triggers()


def _create_triggers() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _create_postgresql_triggers()
    else:
        _create_sqlite_triggers()


def _create_sqlite_triggers() -> None:
    def create(table: str, name: str, before: str, when: str, message: str) -> None:
        condition = f"WHEN {when} " if when else ""
        op.execute(
            f"CREATE TRIGGER {table}_{name} BEFORE {before} ON {table} {condition}"
            f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
        )

    for entity, table in TABLES.items():
        # Both names are ours, from the table above.
        known = f"SELECT 1 FROM transitions WHERE entity = '{entity}' AND now = NEW.state AND was ="  # noqa: S608
        message = f"no such move of a {entity}"
        create(table, "begin", "INSERT", f"NOT EXISTS ({known} '')", message)
        moved = f"NEW.state <> OLD.state AND NOT EXISTS ({known} OLD.state)"
        create(table, "move", "UPDATE", moved, message)
    for refusal in REFUSALS:
        create(*refusal)


def _create_postgresql_triggers() -> None:
    op.execute(
        "CREATE FUNCTION artbot_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation'; "
        "END $$"
    )
    # With the search path of now: pg_restore comes without any.
    op.execute(
        "CREATE FUNCTION artbot_check_move() RETURNS trigger LANGUAGE plpgsql "
        "SET search_path FROM CURRENT AS $$ "
        "DECLARE before text := ''; BEGIN "
        "IF TG_OP = 'UPDATE' THEN "
        "IF NEW.state = OLD.state THEN RETURN NEW; END IF; before := OLD.state; END IF; "
        "IF NOT EXISTS (SELECT 1 FROM transitions WHERE entity = TG_ARGV[0] AND was = before "
        "AND now = NEW.state) THEN "
        "RAISE EXCEPTION 'no such move of a %', TG_ARGV[0] "
        "USING ERRCODE = 'integrity_constraint_violation'; END IF; "
        "RETURN NEW; END $$"
    )
    for entity, table in TABLES.items():
        op.execute(
            f"CREATE TRIGGER {table}_move BEFORE INSERT OR UPDATE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION artbot_check_move('{entity}')"
        )
    for table, name, before, when, message in REFUSALS:
        condition = f"WHEN ({when}) " if when else ""
        op.execute(
            f"CREATE TRIGGER {table}_{name} BEFORE {before} ON {table} FOR EACH ROW "
            f"{condition}EXECUTE FUNCTION artbot_refuse('{message}')"
        )
        if before == "DELETE":  # TRUNCATE fires no trigger of rows
            op.execute(
                f"CREATE TRIGGER {table}_emptied BEFORE TRUNCATE ON {table} "
                f"FOR EACH STATEMENT EXECUTE FUNCTION artbot_refuse('{message}')"
            )
