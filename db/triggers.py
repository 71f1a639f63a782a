"""Which triggers a database of HEAD has: without one of them nobody is refused what it forbids."""

from __future__ import annotations

from sqlalchemy import text

from db.engine import Database

_MOVING = ("batches", "candidates", "channels", "deliveries", "notices")
_COMMON = {
    *(f"{table}_move" for table in _MOVING),
    *(
        "candidates_origin",
        "deliveries_key",
        "deliveries_on_hold",
        "attempts_closed",
        "notices_key",
    ),
    *("decisions_past", "interventions_past"),
    *(f"{t}_kept" for t in ("attempts", "batches", "candidates", "decisions", "deliveries")),
    "interventions_kept",
}
TRIGGERS = {
    "sqlite": _COMMON | {f"{table}_begin" for table in _MOVING},
    # TRUNCATE fires no trigger of rows, and has its own.
    "postgresql": _COMMON
    | {f"{name.removesuffix('_kept')}_emptied" for name in _COMMON if name.endswith("_kept")},
}
"""By the name of SQLAlchemy's dialect."""
_ASK = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
    "postgresql": "SELECT tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
    "JOIN pg_namespace ON pg_namespace.oid = relnamespace "
    "WHERE NOT tgisinternal AND tgenabled IN ('O', 'A') AND nspname = current_schema()",
}


def triggers_of(database: Database) -> set[str]:
    """The names of those that are there and at work."""
    ask = _ASK[database.engine.dialect.name]
    with database.read() as session:
        return set(session.execute(text(ask)).scalars())


def missing_triggers(database: Database) -> list[str]:
    """What HEAD has and this database has not; sorted."""
    return sorted(TRIGGERS[database.engine.dialect.name] - triggers_of(database))
