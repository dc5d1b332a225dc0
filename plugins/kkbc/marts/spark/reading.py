"""Rows of the warehouse as frames of Polars, with the types that Spark reads from Parquet."""

import io

import polars as pl
import psycopg
from psycopg import sql

# How each type travels through CSV, and what it is made again.
_AS_TEXT = {
    "timestamp with time zone": "(extract(epoch from {0}) * 1000000)::bigint",
    "boolean": "{0}::int",
    "text[]": "array_to_string({0}, ',')",
}
_IN_CSV: dict[str, pl.DataType] = {
    "text": pl.String(),
    "text[]": pl.String(),
    "date": pl.Date(),
    "integer": pl.Int32(),
    "bigint": pl.Int64(),
    "double precision": pl.Float64(),
    "boolean": pl.Int32(),
    "timestamp with time zone": pl.Int64(),
}
TYPES: dict[str, pl.DataType] = {
    **_IN_CSV,
    "text[]": pl.List(pl.String()),
    "boolean": pl.Boolean(),
    "timestamp with time zone": pl.Datetime("us", "UTC"),
}
"""The types of columns that travel, and what they are in a frame."""
# Stands for null in CSV: no value holds it.
_NULL = "\x01"


def columns_of(conn: psycopg.Connection, table: sql.Identifier) -> dict[str, str]:
    """The columns of a table that travel, with their types: jsonb and such do not."""
    rows = conn.execute(
        "select attname::text, format_type(atttypid, null) from pg_attribute"
        " where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped order by attnum",
        [table.as_string()],
    ).fetchall()
    return {name: type_ for name, type_ in rows if type_ in TYPES}


def read(conn: psycopg.Connection, table: sql.Identifier, where: sql.Composable = sql.SQL("")) -> pl.DataFrame:
    """The rows of a table, named `t` in the clauses `where`, by one COPY."""
    columns = columns_of(conn, table)
    listed = sql.SQL(", ").join(
        sql.SQL(_AS_TEXT.get(type_, "{0}")).format(sql.Identifier("t", name)) for name, type_ in columns.items()
    )
    query = sql.SQL("copy (select {} from {} as t {}) to stdout (format csv, null {})").format(
        listed, table, where, sql.Literal(_NULL)
    )
    text = io.BytesIO()
    with conn.cursor() as cursor, cursor.copy(query) as copy:
        for block in copy:
            text.write(block)
    schema = {name: _IN_CSV[type_] for name, type_ in columns.items()}
    if not text.tell():
        return pl.DataFrame(schema={name: TYPES[type_] for name, type_ in columns.items()})
    text.seek(0)
    frame = pl.read_csv(text, has_header=False, schema=schema, null_values=[_NULL], empty_string_is_null=False)
    return frame.with_columns(_typed(name, type_) for name, type_ in columns.items())


def _typed(name: str, type_: str) -> pl.Expr:
    column = pl.col(name)
    if type_ == "text[]":
        empty = pl.lit([], dtype=pl.List(pl.String))
        return pl.when(column == "").then(empty).otherwise(column.str.split(",")).alias(name)
    if type_ == "timestamp with time zone":
        return pl.from_epoch(column, time_unit="us").dt.replace_time_zone("UTC").alias(name)
    return column.cast(TYPES[type_])
