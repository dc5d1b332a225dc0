"""Export: the published tables of a schema as files, one a table, rows in the order of their grain."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import polars as pl
import psycopg
from psycopg import sql

from kkbc.core.cell_text import as_text_sql
from kkbc.core.errors import UserError
from kkbc.core.files import make_folder, replacing
from kkbc.warehouse import connect
from kkbc.warehouse.connection import Role

Format = Literal["csv", "parquet"]

# Each schema is read as the role that BI users of it have.
READERS: dict[str, Role] = {"bi": "bi", "bi_detail": "analyst"}

_TYPES: dict[str, pl.DataType] = {
    "int2": pl.Int16(),
    "int4": pl.Int32(),
    "int8": pl.Int64(),
    "float8": pl.Float64(),
    "numeric": pl.Decimal(38, 0),
    "bool": pl.Boolean(),
    "date": pl.Date(),
    "timestamptz": pl.Datetime("us", "UTC"),
    "text": pl.String(),
}


def export(
    schema: str, format_: Format, folder: Path, progress: Callable[[str, int], None] = lambda table, rows: None
) -> dict[str, int]:
    """Writes every mart of `schema` to `folder`/{table}.{format_}; returns the rows of each.

    CSV: UTF-8, comma, header, empty field for null, dates ISO, text as spreadsheets take it for text
    (kkbc.core.cell_text). All tables are of one publication. A file appears whole or not at all; facts are for their
    owner alone. Raises UserError for an unknown schema, nothing published, or a folder that cannot be written.
    """
    if schema not in READERS:
        raise UserError(f"schema {schema!r} is not exported", f"choose one of: {', '.join(READERS)}")
    try:
        make_folder(folder)
    except OSError as error:
        raise UserError(f"folder {folder} cannot be made: {error.strerror}", "choose another --out") from error
    written: dict[str, int] = {}
    with connect(READERS[schema]) as conn:
        # One snapshot for all tables: a publication in between must not show in half of the files.
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.read_only = True
        tables = _tables(conn, schema)
        if not tables:
            raise UserError(f"nothing is published in schema {schema}", "run a night first: `kkbc run` or `make run`")
        for table, grain in tables:
            path = folder / f"{table}.{format_}"
            columns = _columns(conn, schema, table, as_text=format_ == "csv")
            query = sql.SQL("select {} from {} t order by {}").format(columns, sql.Identifier(schema, table), grain)
            try:
                with replacing(path, private=schema != "bi") as made:
                    rows = _csv(conn, query, made) if format_ == "csv" else _parquet(conn, query, made)
            except OSError as error:
                raise UserError(
                    f"file {path} cannot be written: {error.strerror}", "free space or choose --out"
                ) from error
            written[table] = rows
            progress(table, rows)
    return written


def _tables(conn: psycopg.Connection, schema: str) -> list[tuple[str, sql.Composed]]:
    """Name and order of each table; text of the key is ordered by code points, whatever the server's locale."""
    rows = conn.execute(
        "select c.relname, array_agg(a.attname order by k.n), array_agg(t.typname = 'text' order by k.n)"
        " from pg_class c join pg_namespace s on s.oid = c.relnamespace"
        " join pg_index i on i.indrelid = c.oid and i.indisprimary"
        " cross join lateral unnest(i.indkey) with ordinality k(attnum, n)"
        " join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum"
        " join pg_type t on t.oid = a.atttypid"
        " where s.nspname = %s and c.relkind = 'r' and c.relname <> 'publication_slice'"
        " group by c.relname order by c.relname",
        [schema],
    ).fetchall()
    collated = sql.SQL('t.{} collate "C"')
    return [
        (
            table,
            sql.SQL(", ").join(
                collated.format(sql.Identifier(c)) if text else sql.Identifier("t", c)
                for c, text in zip(columns, are_text, strict=True)
            ),
        )
        for table, columns, are_text in rows
    ]


def _columns(conn: psycopg.Connection, schema: str, table: str, *, as_text: bool) -> sql.Composed:
    """The columns of a table in their order; with `as_text`, those of text as spreadsheets take them for text."""
    rows = conn.execute(
        "select attname, atttypid = 'text'::regtype from pg_attribute"
        " where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped order by attnum",
        [sql.Identifier(schema, table).as_string(conn)],
    ).fetchall()
    return sql.SQL(", ").join(
        sql.SQL("{} as {}").format(as_text_sql(sql.Identifier("t", name)), sql.Identifier(name))
        if as_text and is_text
        else sql.Identifier("t", name)
        for name, is_text in rows
    )


def _csv(conn: psycopg.Connection, query: sql.Composed, path: Path) -> int:
    with path.open("wb") as file, conn.cursor() as cursor:
        with cursor.copy(sql.SQL("copy ({}) to stdout (format csv, header)").format(query)) as copy:
            for block in copy:
                file.write(block)
        return cursor.rowcount


def _parquet(conn: psycopg.Connection, query: sql.Composed, path: Path) -> int:
    cursor = conn.execute(query)
    assert cursor.description is not None
    types = {column.name: _TYPES[conn.adapters.types[column.type_code].name] for column in cursor.description}
    frame = pl.DataFrame(cursor.fetchall(), schema=types, orient="row")
    frame.write_parquet(path)
    return len(frame)
