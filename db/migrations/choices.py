"""For migrations: a column whose CHECK names the words it may hold, and how a table gets other constraints."""

from __future__ import annotations

from collections.abc import Callable

from alembic import op


def one_of(column: str, words: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(word) for word in words)})"


def replace_choices(
    table: str, columns: tuple[str, ...], old: tuple[str, ...], new: tuple[str, ...]
) -> None:
    """Let `columns` hold the words of `new`, where they held those of `old`. Every row stays."""
    if op.get_bind().dialect.name != "sqlite":
        for column in columns:
            name = op.f(f"ck_{table}_{column}")
            op.drop_constraint(name, table, type_="check")
            op.create_check_constraint(name, table, one_of(column, new))
        return

    def with_new_words(body: str) -> str:
        for column in columns:
            assert body.count(one_of(column, old)) == 1, body
            body = body.replace(one_of(column, old), one_of(column, new))
        return body

    _rebuild_in_sqlite(table, with_new_words)


def add_constraints(table: str, constraints: dict[str, str]) -> None:
    """Let `table` have these as well: by name, in SQL. Every row stays."""
    if op.get_bind().dialect.name != "sqlite":
        for name, rule in constraints.items():
            op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {rule}")
        return
    added = "".join(f", \n\tCONSTRAINT {name} {rule}" for name, rule in constraints.items())

    def with_added(body: str) -> str:
        before, _, _ = body.rstrip().rpartition(")")
        return f"{before.rstrip()}{added}\n)"

    _rebuild_in_sqlite(table, with_added)


def _rebuild_in_sqlite(table: str, edit: Callable[[str], str]) -> None:
    """SQLite cannot alter a constraint: the table is built anew with its body, all after the first bracket,
    edited, and the rows, indexes and triggers are copied
    (https://www.sqlite.org/lang_altertable.html, section 7; db.engine has turned foreign keys off).
    """
    execute = op.get_bind().exec_driver_sql
    (sql,) = execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).one()
    others = [
        row.sql
        for row in execute(
            "SELECT sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND tbl_name = ? "
            "AND sql NOT NULL",
            (table,),
        )
    ]
    head, _, body = sql.partition("(")
    # A table that was built anew before has its name in quotes.
    assert head.split() in (["CREATE", "TABLE", table], ["CREATE", "TABLE", f'"{table}"']), sql
    execute(f"CREATE TABLE new_{table} ({edit(body)}")
    execute(f"INSERT INTO new_{table} SELECT * FROM {table}")  # noqa: S608  our own names
    execute(f"DROP TABLE {table}")
    execute(f"ALTER TABLE new_{table} RENAME TO {table}")
    for other in others:
        execute(other)
