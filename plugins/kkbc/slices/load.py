"""Loading: the rows of one slice into raw, vault and quarantine, once and as a whole.

Delete, COPY and the slice's row in `ops.slice` commit together, so that a crash leaves the slice as it was before.
"""

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import polars as pl
import psycopg
from psycopg import sql

from kkbc.core.errors import UserError
from kkbc.exchange import masking
from kkbc.exchange.contracts import Contract
from kkbc.exchange.slices import Slice
from kkbc.intake.rows import Counts, SliceRows
from kkbc.warehouse import locks
from kkbc.warehouse.connection import told

Outcome = Literal["loaded", "superseded", "rejected", "known"]
# A revision with one of these was taken in before, whatever became of it since.
TAKEN = ("loaded", "superseded", "held")


@dataclass(frozen=True)
class SliceRecord:
    """What is known of a slice besides its rows: where it came from and what was found. Becomes a row of ops.slice."""

    slice: Slice
    run_id: str
    manifest_sha256: str
    manifest_rows: int
    sent_at: datetime | None
    file_name: str | None = None
    file_format: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    landed_uri: str | None = None
    manifest_seen_at: datetime | None = None
    drift: dict[str, Any] = field(default_factory=dict)

    @property
    def shown_file(self) -> str | None:
        """The file's name as it may be told of: a branch chose it."""
        return None if self.file_name is None else masking.shown_name(self.file_name)


def load(conn: psycopg.Connection, contract: Contract, record: SliceRecord, rows: SliceRows) -> Outcome:
    """Loads one slice in one transaction of its own; `conn` acts as role loader.

    loaded: in force now, replacing every lower revision. superseded: a higher revision is in force, so that only its
    counts are recorded. known: this revision was loaded before, by this run or another; nothing was changed.
    """
    slice_ = record.slice
    with conn.transaction():
        in_force = lock_slice(conn, slice_)
        if _status(conn, slice_) in TAKEN:
            return "known"
        load_id = next_load_id(conn)
        outcome: Outcome = "superseded" if in_force is not None and in_force > slice_.revision else "loaded"
        if outcome == "loaded":
            if in_force is not None:
                replace_in_force(conn, contract, slice_)
            _supersede_held(conn, slice_)
            all_rows(rows.counts.accepted, copy_rows(conn, contract, record, rows.accepted, load_id))
        _record(conn, record, outcome, rows.counts, load_id)
        all_rows(rows.counts.quarantined, copy_quarantine(conn, slice_, rows.quarantined, load_id))
        if outcome == "superseded":
            _close_quarantine(conn, slice_, below=slice_.revision + 1)
    return outcome


def all_rows(expected: int, copied: int) -> None:
    """Raises UserError for rows that landing has lost since they were judged: they must not be lost here as well."""
    if copied != expected:
        raise UserError(f"landing holds {copied} of {expected} rows that were judged", "run the night again")


def reject(conn: psycopg.Connection, record: SliceRecord, reason: str, detail: str) -> Outcome:
    """Records that a slice was rejected; no row of it is loaded and what is in force stays so (Exchange rule 2)."""
    with conn.transaction():
        lock_slice(conn, record.slice)
        if _status(conn, record.slice) in TAKEN:
            return "known"
        _record(conn, record, "rejected", None, None, reason, detail)
    return "rejected"


def lock_slice(conn: psycopg.Connection, slice_: Slice) -> int | None:
    """Keeps builds and other loads of the branch away until commit; returns the revision in force. Raises Busy."""
    locks.take_slices(conn, slice_.branch_id)
    row = conn.execute(
        "select revision from ops.slice"
        " where feed = %s and branch_id = %s and business_date = %s and status = 'loaded'",
        [slice_.feed, slice_.branch_id, slice_.business_date],
    ).fetchone()
    return None if row is None else int(row[0])


def _status(conn: psycopg.Connection, slice_: Slice) -> str | None:
    row = conn.execute(
        "select status from ops.slice where feed = %s and branch_id = %s and business_date = %s and revision = %s",
        [slice_.feed, slice_.branch_id, slice_.business_date, slice_.revision],
    ).fetchone()
    return None if row is None else str(row[0])


def next_load_id(conn: psycopg.Connection) -> int:
    """A number for a load that no other load has."""
    row = conn.execute("select nextval('ops.load_id')").fetchone()
    assert row is not None
    return int(row[0])


def delete_rows(conn: psycopg.Connection, contract: Contract, slice_: Slice) -> None:
    """Takes the rows of the revision in force out of vault and raw, which all loads go through in this order.

    Part of the caller's transaction.
    """
    for schema in ("vault", "raw") if contract.has_persons else ("raw",):
        conn.execute(
            sql.SQL("delete from {} where _branch_id = %s and _business_date = %s").format(
                sql.Identifier(schema, contract.table)
            ),
            [slice_.branch_id, slice_.business_date],
        )


def replace_in_force(conn: psycopg.Connection, contract: Contract, slice_: Slice) -> None:
    """Makes room for `slice_` in place of the revision in force: its rows go, its quarantine is closed.

    Its record stays. Part of the caller's transaction.
    """
    delete_rows(conn, contract, slice_)
    conn.execute(
        "update ops.slice set status = 'superseded'"
        " where feed = %s and branch_id = %s and business_date = %s and status = 'loaded'",
        [slice_.feed, slice_.branch_id, slice_.business_date],
    )
    _close_quarantine(conn, slice_, below=slice_.revision)


def _supersede_held(conn: psycopg.Connection, slice_: Slice) -> None:
    """Lower revisions that the gate holds need no decision any more."""
    place = [slice_.feed, slice_.branch_id, slice_.business_date, slice_.revision]
    held = conn.execute(
        "update ops.slice set status = 'superseded' where feed = %s and branch_id = %s and business_date = %s"
        " and revision < %s and status = 'held'",
        place,
    )
    if held.rowcount:
        conn.execute(
            "update ops.hold set closed_as = 'superseded' where feed = %s and branch_id = %s and business_date = %s"
            " and revision < %s and closed_as is null",
            place,
        )
        _close_quarantine(conn, slice_, below=slice_.revision)


def _close_quarantine(conn: psycopg.Connection, slice_: Slice, *, below: int) -> None:
    conn.execute(
        "update ops.quarantine"
        " set closed_at = now(), closed_as = 'superseded', closed_why = 'a higher revision is in force'"
        " where feed = %s and branch_id = %s and business_date = %s and revision < %s and closed_at is null",
        [slice_.feed, slice_.branch_id, slice_.business_date, below],
    )


def copy_rows(
    conn: psycopg.Connection, contract: Contract, record: SliceRecord, accepted: Iterable[pl.DataFrame], load_id: int
) -> int:
    """Adds accepted rows of the slice to raw, and to vault what is personal in them, frame by frame; returns how many.

    Raw gets codes, dates and numbers; a person typed into a code is a mark there, here and nowhere else (Exchange
    rule 39), so that all ways of loading come to the same.
    Part of the caller's transaction. Raises UserError when the disk of the warehouse is full.
    """
    slice_ = record.slice
    address = ["_business_date", "_branch_id", "_revision", "_line", "_load_id"]
    plain = [c.name for c in contract.columns if not c.personal]
    personal = [c.name for c in contract.columns if c.personal]
    lineage = [
        pl.lit(slice_.business_date).alias("_business_date"),
        pl.lit(slice_.branch_id).alias("_branch_id"),
        pl.lit(slice_.revision).alias("_revision"),
        pl.lit(record.shown_file, dtype=pl.String).alias("_file"),
        pl.lit(load_id).alias("_load_id"),
        as_array("_warnings"),
    ]
    token = ["participant_token"] if contract.has_nik else []
    for column in contract.columns:
        if column.derived is not None:
            lineage.append(pl.col(column.name).dt.year().alias(column.derived.name))
            plain.append(column.derived.name)
    marked = masking.Marker(contract)
    count = 0
    for frame in accepted:
        if frame.is_empty():
            continue
        if not count:
            conn.execute("select ops.ensure_partitions(%s)", [slice_.business_date])
        count += frame.height
        rows = frame.with_columns(lineage)
        if contract.has_persons:
            copy_frame(conn, ("vault", contract.table), rows.select(*address, *token, *personal))
        copy_frame(conn, ("raw", contract.table), marked(rows.select(*address, "_file", "_warnings", *token, *plain)))
    return count


def copy_quarantine(conn: psycopg.Connection, slice_: Slice, quarantined: Iterable[pl.DataFrame], load_id: int) -> int:
    """Adds quarantined rows of the slice to `ops.quarantine`, frame by frame; returns how many. Part of the caller's
    transaction.
    """
    count = 0
    for frame in quarantined:
        count += frame.height
        rows = frame.select(
            pl.lit(slice_.feed).alias("feed"),
            pl.lit(slice_.branch_id).alias("branch_id"),
            pl.lit(slice_.business_date).alias("business_date"),
            pl.lit(slice_.revision).alias("revision"),
            pl.col("_line").alias("line"),
            as_array("_errors").alias("errors"),
            as_array("_warnings").alias("warnings"),
            as_array("_fields").alias("fields"),
            pl.lit(load_id).alias("load_id"),
        )
        copy_frame(conn, ("ops", "quarantine"), rows)
    return count


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
        return told(error)
    if isinstance(error, psycopg.OperationalError):
        lines = (error.diag.message_primary or str(error)).strip().splitlines()
        return psycopg.OperationalError(f"COPY into {table} broke off: {lines[0] if lines else 'the server is gone'}")
    return RuntimeError(f"COPY into {table} failed: {type(error).__name__}")


def _record(
    conn: psycopg.Connection,
    record: SliceRecord,
    status: Outcome,
    counts: Counts | None,
    load_id: int | None,
    reason: str | None = None,
    detail: str | None = None,
) -> None:
    values: dict[str, Any] = {
        "feed": record.slice.feed,
        "branch_id": record.slice.branch_id,
        "business_date": record.slice.business_date,
        "revision": record.slice.revision,
        "status": status,
        "reason": reason,
        "detail": detail,
        "sent_at": record.sent_at,
        "manifest_seen_at": record.manifest_seen_at,
        "loaded_at": None if counts is None else datetime.now().astimezone(),
        "manifest_sha256": record.manifest_sha256,
        "manifest_rows": record.manifest_rows,
        "rows_sent": 0,
        "rows_accepted": 0,
        "rows_quarantined": 0,
        "warnings": 0,
        "rows_nik_valid": None,
        "rows_contactable": None,
        "file_name": record.shown_file,
        "file_format": record.file_format,
        "bytes": record.bytes,
        "sha256": record.sha256,
        "landed_uri": record.landed_uri,
        "drift": json.dumps(masking.safe_findings(record.drift)) if record.drift else None,
        "load_id": load_id,
        "run_id": record.run_id,
        "build_id": None,
    }
    if counts is not None:
        values |= {
            "rows_sent": counts.accepted + counts.quarantined,
            "rows_accepted": counts.accepted,
            "rows_quarantined": counts.quarantined,
            "warnings": counts.warnings,
            "rows_nik_valid": counts.nik_valid,
            "rows_contactable": counts.contactable,
        }
    names = list(values)
    statement = sql.SQL("insert into ops.slice ({}) values ({}) on conflict ({}) do update set {}").format(
        sql.SQL(", ").join(map(sql.Identifier, names)),
        sql.SQL(", ").join(map(sql.Placeholder, names)),
        sql.SQL(", ").join(map(sql.Identifier, names[:4])),
        sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in names[4:]),
    )
    conn.execute(statement, values)
