"""Statements that change the warehouse: carried out, or only noted for a dry run."""

from collections.abc import Iterable, Sequence
from typing import Any, LiteralString

import psycopg
from psycopg import sql


class Work:
    """Carries statements out over `conn`; with `dry` it only notes them, and nothing is changed."""

    def __init__(self, conn: psycopg.Connection, *, dry: bool = False) -> None:
        self.conn = conn
        self.dry = dry
        self.statements: list[str] = []

    def do(self, statement: LiteralString, **parts: sql.Composable) -> None:
        """One statement, with its parts put in."""
        composed = sql.SQL(statement).format(**parts)
        if self.dry:
            self.statements.append(composed.as_string(self.conn))
        else:
            self.conn.execute(composed)

    def rows(self, query: LiteralString, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
        """What a query finds; asked in a dry run too."""
        return self.conn.execute(query, parameters).fetchall()


def name(schema: str, relation: str) -> sql.Identifier:
    """A relation in a statement."""
    return sql.Identifier(schema, relation)


def names(columns: Iterable[str]) -> sql.Composed:
    """Columns in a statement."""
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def names_of(relation: str, columns: Iterable[str]) -> sql.Composed:
    """Columns of a relation in a statement."""
    return sql.SQL(", ").join(sql.Identifier(relation, column) for column in columns)


def same_key(columns: Iterable[str], left: str, right: str) -> sql.Composed:
    """The condition that two rows have one key."""
    part = sql.SQL("{}.{} = {}.{}")
    return sql.SQL(" and ").join(
        part.format(sql.Identifier(left), sql.Identifier(c), sql.Identifier(right), sql.Identifier(c)) for c in columns
    )


def columns_of(work: Work, table: sql.Identifier) -> list[str]:
    """The columns that a table has, in their order; none of one that is not there."""
    rows = work.rows(
        "select attname::text from pg_attribute where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped"
        " order by attnum",
        [table.as_string()],
    )
    return [column for (column,) in rows]
