"""The rows of a slice in the warehouse: accepted ones in raw and vault, quarantined ones in `ops.quarantine`.

Everything here is part of the caller's transaction, under the lock of the slice.
"""

import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Literal

import polars as pl
import psycopg
from psycopg import sql

from kkbc.core import tokens
from kkbc.core.errors import UserError
from kkbc.exchange import masking
from kkbc.exchange.contracts import Contract
from kkbc.exchange.slices import ERASED, Slice
from kkbc.slices.record import SliceRecord
from kkbc.warehouse import kept
from kkbc.warehouse.connection import as_user_error
from kkbc.warehouse.feeds import TYPES


def next_load_id(conn: psycopg.Connection) -> int:
    """A number for a load that no other load has."""
    row = conn.execute("select nextval('ops.load_id')").fetchone()
    assert row is not None
    return int(row[0])


def check_complete(expected: int, copied: int) -> None:
    """Raises UserError for rows that landing has lost since they were judged: they must not be lost here as well."""
    if copied != expected:
        raise UserError(f"landing holds {copied} of {expected} rows that were judged", "run the night again")


def copy_rows(
    conn: psycopg.Connection, contract: Contract, record: SliceRecord, accepted: Iterable[pl.DataFrame], load_id: int
) -> int:
    """Adds accepted rows of the slice to raw, and to vault what is personal in them, frame by frame; returns how many.

    Raw gets codes, dates and numbers; a person typed into a code is a mark there, here and nowhere else (Exchange
    rule 39), so that all ways of loading come to the same. Rows without a token, or with one of a key that was changed
    since, get that of the warehouse's key.
    Raises UserError when the disk of the warehouse is full.
    """
    slice_ = record.slice
    personal = [c.name for c in contract.columns if c.personal]
    token = ["participant_token"] if contract.has_nik else []
    count = 0
    for frame, raw in as_loaded(conn, contract, slice_, record.shown_file, accepted, load_id):
        if not count:
            conn.execute("select ops.ensure_partitions(%s)", [slice_.business_date])
        count += frame.height
        if contract.has_persons:
            address = _address(slice_, load_id)
            copy_frame(conn, ("vault", contract.table), frame.select(*address, *token, *personal))
        copy_frame(conn, ("raw", contract.table), raw)
    return count


def as_loaded(
    conn: psycopg.Connection,
    contract: Contract,
    slice_: Slice,
    shown_file: str | None,
    accepted: Iterable[pl.DataFrame],
    load_id: int,
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Accepted rows of the slice, frame by frame, and beside each the rows of raw that it makes; see `copy_rows`."""
    plain: list[str | pl.Expr] = [c.name for c in contract.columns if not c.personal]
    for column in contract.columns:
        if column.derived is not None:
            plain.append(pl.col(column.name).dt.year().alias(column.derived.name))
    only_raw = [pl.lit(shown_file, dtype=pl.String).alias("_file"), as_array("_warnings")]
    token = ["participant_token"] if contract.has_nik else []
    marked, tokened = masking.Marker(contract), _Tokener(conn, contract)
    for sent in accepted:
        if sent.is_empty():
            continue
        frame = tokened(sent)
        yield frame, marked(frame.select(*_address(slice_, load_id), *only_raw, *token, *plain))


def _address(slice_: Slice, load_id: int) -> list[pl.Expr]:
    return [
        pl.lit(slice_.business_date).alias("_business_date"),
        pl.lit(slice_.branch_id).alias("_branch_id"),
        pl.lit(slice_.revision).alias("_revision"),
        pl.col("_line"),
        pl.lit(load_id).alias("_load_id"),
    ]


class _Tokener:
    """Sees to it that rows have tokens of the key that the warehouse goes by: no change of keys can come in between,
    for it waits for the locks of a load.
    """

    def __init__(self, conn: psycopg.Connection, contract: Contract) -> None:
        self._conn = conn
        self._nik = contract.nik
        self._prefix = kept.known(conn, kept.TOKEN_VERSION) if contract.nik else None

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with the right tokens."""
        if self._nik is None:
            return frame
        if "participant_token" in frame.columns:
            right = pl.col("participant_token").str.starts_with(self._prefix or "").all()
            if frame.select(right).item():
                return frame
        return frame.with_columns(tokens.tokens(frame[self._nik], kept.token_key(self._conn)))


def copy_quarantine(conn: psycopg.Connection, slice_: Slice, quarantined: Iterable[pl.DataFrame], load_id: int) -> int:
    """Adds quarantined rows of the slice to `ops.quarantine`, frame by frame; returns how many."""
    count = 0
    for frame in quarantined:
        if frame.is_empty():
            continue
        count += frame.height
        # Nobody retries or resolves a row of a person who was erased.
        is_erased = pl.when(pl.col("_errors").list.contains(ERASED))
        rows = frame.select(
            *(pl.lit(value).alias(name) for name, value in slice_.key().items()),
            *verdict_columns(),
            pl.lit(load_id).alias("load_id"),
            is_erased.then(pl.lit(datetime.now(UTC))).alias("closed_at"),
            is_erased.then(pl.lit("erased")).alias("closed_as"),
        )
        copy_frame(conn, ("ops", "quarantine"), rows)
    return count


def delete_rows(conn: psycopg.Connection, contract: Contract, slice_: Slice) -> None:
    """Takes the rows of the revision in force out of vault and raw, which all loads go through in this order."""
    for schema in ("vault", "raw") if contract.has_persons else ("raw",):
        conn.execute(
            sql.SQL("delete from {} where _branch_id = %(branch_id)s and _business_date = %(business_date)s").format(
                sql.Identifier(schema, contract.table)
            ),
            slice_.key(),
        )


def delete_lines(
    conn: psycopg.Connection,
    schema: Literal["raw", "vault"],
    contract: Contract,
    slice_: Slice,
    lines: list[int],
    returning: sql.Composable,
) -> list[tuple[Any, ...]]:
    """Takes some lines of the revision in force out of raw or vault; returns what `returning` asks of each."""
    return conn.execute(
        sql.SQL(
            "delete from {} where _branch_id = %(branch_id)s and _business_date = %(business_date)s"
            " and _line = any(%(lines)s) returning {}"
        ).format(sql.Identifier(schema, contract.table), returning),
        {**slice_.key(), "lines": lines},
    ).fetchall()


def accepted_with_keys_of(
    conn: psycopg.Connection, contract: Contract, slice_: Slice, passing: pl.DataFrame
) -> pl.DataFrame:
    """The accepted rows of the slice that share a key with one of `passing`: the same columns, as raw has them."""
    if passing.is_empty():
        return passing
    arrays = [sql.SQL("%s::{}[]").format(sql.SQL(TYPES[contract.column(name).type])) for name in contract.key]
    rows = conn.execute(
        sql.SQL(
            "select {} from raw.{} where _branch_id = %s and _business_date = %s and ({}) in (select * from unnest({}))"
        ).format(
            sql.SQL(", ").join(map(sql.Identifier, passing.columns)),
            sql.Identifier(contract.table),
            sql.SQL(", ").join(map(sql.Identifier, contract.key)),
            sql.SQL(", ").join(arrays),
        ),
        [slice_.branch_id, slice_.business_date, *(passing[name].to_list() for name in contract.key)],
    ).fetchall()
    return pl.DataFrame(rows, schema=passing.schema, orient="row")


def verdict_columns() -> list[pl.Expr]:
    """Line and codes of a judged row as `ops.quarantine` names and writes them."""
    codes = [as_array(name).alias(name[1:]) for name in ("_errors", "_warnings", "_fields")]
    return [pl.col("_line").alias("line"), *codes]


def as_array(column: str) -> pl.Expr:
    """A list of codes as PostgreSQL writes arrays. Codes and column names hold no character that needs quoting."""
    return pl.concat_str(pl.lit("{"), pl.col(column).list.join(","), pl.lit("}")).alias(column)


def copy_frame(conn: psycopg.Connection, table: tuple[str, str], frame: pl.DataFrame) -> None:
    """Adds rows to a table by COPY; the frame's columns are named as the table's.

    Raises UserError when the disk of the warehouse is full, psycopg.OperationalError when it breaks off.
    """
    if frame.is_empty():
        return
    columns = sql.SQL(", ").join(map(sql.Identifier, frame.columns))
    statement = sql.SQL("copy {} ({}) from stdin (format csv)").format(sql.Identifier(*table), columns)
    try:
        with conn.cursor() as cursor, cursor.copy(statement) as copy:
            text = io.BytesIO()
            frame.write_csv(text, include_header=False, datetime_format="%Y-%m-%dT%H:%M:%S%.6f%z")
            copy.write(text.getbuffer())
    except psycopg.Error as error:
        # PostgreSQL quotes the row in its message: the person in it must not reach a log, nor a cause that logs show.
        raise _without_row(error, ".".join(table)) from None


def _without_row(error: psycopg.Error, table: str) -> Exception:
    if isinstance(error, psycopg.errors.DiskFull):
        return as_user_error(error)
    if isinstance(error, psycopg.OperationalError):
        lines = (error.diag.message_primary or str(error)).strip().splitlines()
        return psycopg.OperationalError(f"COPY into {table} broke off: {lines[0] if lines else 'the server is gone'}")
    return RuntimeError(f"COPY into {table} failed: {type(error).__name__}")
