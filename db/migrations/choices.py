"""For migrations: a column whose CHECK names the words it may hold, and how it gets other words."""

from __future__ import annotations

from alembic import op


def one_of(column: str, words: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(word) for word in words)})"


def replace_choices(
    table: str, columns: tuple[str, ...], old: tuple[str, ...], new: tuple[str, ...]
) -> None:
    """Let `columns` hold the words of `new`, where they held those of `old`. Every row stays.

    SQLite cannot alter a CHECK: the table is built anew and the rows, indexes and triggers are copied
    (https://www.sqlite.org/lang_altertable.html, section 7; db.engine has turned foreign keys off).
    """
    if op.get_bind().dialect.name != "sqlite":
        for column in columns:
            name = op.f(f"ck_{table}_{column}")
            op.drop_constraint(name, table, type_="check")
            op.create_check_constraint(name, table, one_of(column, new))
        return
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
    for column in columns:
        assert body.count(one_of(column, old)) == 1, sql
        body = body.replace(one_of(column, old), one_of(column, new))
    execute(f"CREATE TABLE new_{table} ({body}")
    execute(f"INSERT INTO new_{table} SELECT * FROM {table}")  # noqa: S608  our own names
    execute(f"DROP TABLE {table}")
    execute(f"ALTER TABLE new_{table} RENAME TO {table}")
    for other in others:
        execute(other)
