"""The record of a slice: its row of `ops.slice`. It is read as a whole, and written, here and nowhere else."""

import json
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any, Literal

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from kkbc.exchange import masking
from kkbc.exchange.slices import Slice
from kkbc.intake.process import Intake
from kkbc.intake.rows import Counts

Status = Literal["loaded", "superseded", "rejected", "held"]
TAKEN: tuple[Status, ...] = ("loaded", "superseded", "held")
"""A revision with one of these was taken in before, whatever became of it since."""

# Conditions whose parameters are those of Slice.key().
THIS_SLICE = "(feed, branch_id, business_date, revision) = (%(feed)s, %(branch_id)s, %(business_date)s, %(revision)s)"
ANY_REVISION = "(feed, branch_id, business_date) = (%(feed)s, %(branch_id)s, %(business_date)s)"

_COLUMNS = (
    "run_id, manifest_sha256, manifest_rows, sent_at, file_name, file_format, bytes, sha256, landed_uri,"
    " manifest_seen_at, coalesce(drift, '{}'), status, reason, load_id, rows_accepted,"
    " (select r.new_sha256 from ops.landed_rewrite as r where r.landed_uri = ops.slice.landed_uri"
    " order by r.rewrite_id desc limit 1)"
)


@dataclass(frozen=True)
class SliceRecord:
    """What is known of a slice besides its rows: where it came from and what was found.

    `bytes` and `sha256` are those of the file as sent, `rewritten_sha256` is that of the landed file when persons were
    taken out of it. `status`, `reason`, `load_id` and `rows_accepted` are what became of the slice. These are set when
    it is read from the warehouse.
    """

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
    status: Status | None = None
    reason: str | None = None
    load_id: int | None = None
    rows_accepted: int = 0
    rewritten_sha256: str | None = None

    @property
    def landed_sha256(self) -> str | None:
        """The SHA-256 that the landed file has by the record: as it was sent, or as it was rewritten last."""
        return self.rewritten_sha256 or self.sha256

    @property
    def shown_file(self) -> str | None:
        """The file's name as it may be shown: a branch chose it."""
        return None if self.file_name is None else masking.shown_name(self.file_name)

    @classmethod
    def load(cls, conn: psycopg.Connection, slice_: Slice) -> "SliceRecord | None":
        """The record of a slice; None when the warehouse does not know it."""
        row = conn.execute(f"select {_COLUMNS} from ops.slice where {THIS_SLICE}", slice_.key()).fetchone()  # noqa: S608 (constants)
        return None if row is None else cls(slice_, *row)

    @classmethod
    def in_force(cls, conn: psycopg.Connection, branch_id: str, since: date, until: date) -> "list[SliceRecord]":
        """The records of a branch's slices in force of these business dates, the oldest first."""
        rows = conn.execute(
            f"select feed, business_date, revision, {_COLUMNS} from ops.slice where status = 'loaded'"  # noqa: S608 (a constant)
            " and branch_id = %s and business_date between %s and %s order by business_date, feed",
            [branch_id, since, until],
        ).fetchall()
        return [cls(Slice(row[0], branch_id, row[1], row[2]), *row[3:]) for row in rows]

    def save(
        self,
        conn: psycopg.Connection,
        status: Status,
        *,
        counts: Counts | None = None,
        load_id: int | None = None,
        reason: str | None = None,
        detail: str | None = None,
    ) -> None:
        """Puts the slice on record, or again what was rejected before. `counts` is None for a slice without rows."""
        values: dict[str, Any] = {
            **self.slice.key(),
            "status": status,
            "reason": reason,
            "detail": detail,
            "sent_at": self.sent_at,
            "manifest_seen_at": self.manifest_seen_at,
            "loaded_at": None if counts is None else datetime.now().astimezone(),
            "manifest_sha256": self.manifest_sha256,
            "manifest_rows": self.manifest_rows,
            **_counted(counts or Counts(0, 0, 0, None, None)),
            "file_name": self.shown_file,
            "file_format": self.file_format,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "landed_uri": self.landed_uri,
            "drift": json.dumps(masking.safe_findings(self.drift)) if self.drift else None,
            "load_id": load_id,
            "run_id": self.run_id,
            "build_id": None,
        }
        names = list(values)
        statement = sql.SQL("insert into ops.slice ({}) values ({}) on conflict ({}) do update set {}").format(
            sql.SQL(", ").join(map(sql.Identifier, names)),
            sql.SQL(", ").join(map(sql.Placeholder, names)),
            sql.SQL(", ").join(map(sql.Identifier, names[:4])),
            sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in names[4:]),
        )
        conn.execute(statement, values)


def _counted(counts: Counts) -> dict[str, int | None]:
    return {
        "rows_sent": counts.accepted + counts.quarantined,
        "rows_accepted": counts.accepted,
        "rows_quarantined": counts.quarantined,
        "warnings": counts.warnings,
        "rows_nik_valid": counts.nik_valid,
        "rows_contactable": counts.contactable,
    }


def revision_in_force(conn: psycopg.Connection, slice_: Slice) -> int | None:
    """The revision of this feed, branch and day that is in force; None when there is none."""
    row = conn.execute(
        f"select revision from ops.slice where {ANY_REVISION} and status = 'loaded'",  # noqa: S608 (a constant)
        slice_.key(),
    ).fetchone()
    return None if row is None else int(row[0])


def status_of(conn: psycopg.Connection, slice_: Slice) -> Status | None:
    """What became of a slice; None when the warehouse does not know it."""
    record = SliceRecord.load(conn, slice_)
    return None if record is None else record.status


def claim(conn: psycopg.Connection, build_id: int) -> None:
    """Makes the slices that no publication covers those of this build. `conn` acts as role transformer."""
    conn.execute(
        "update ops.slice set build_id = %s where build_id is null"
        " or build_id in (select build_id from ops.build where outcome in ('failed', 'gate_failed'))",
        [build_id],
    )


def analyze_changed(conn: psycopg.Connection) -> int:
    """Brings the statistics of ops and raw up to date where a tenth of a table has changed; returns of how many tables.

    Autovacuum does the same up to a minute later, which is too late for what reads the slices next. `conn` acts as role
    loader.
    """
    ((analyzed,),) = conn.execute("select ops.analyze_changed()").fetchall()
    return int(analyzed)


# --- changes of a slice that is on record; each is part of the caller's transaction, under the lock of the slice ------
def set_status(conn: psycopg.Connection, slice_: Slice, status: Status) -> None:
    """Notes what became of a slice."""
    conn.execute(
        f"update ops.slice set status = %(status)s where {THIS_SLICE}",  # noqa: S608 (a constant)
        {**slice_.key(), "status": status},
    )


def supersede_in_force(conn: psycopg.Connection, slice_: Slice) -> None:
    """The revision in force of this feed, branch and day is in force no more."""
    conn.execute(
        f"update ops.slice set status = 'superseded' where {ANY_REVISION} and status = 'loaded'",  # noqa: S608 (a constant)
        slice_.key(),
    )


def supersede_held(conn: psycopg.Connection, slice_: Slice) -> bool:
    """Lower revisions that the gate holds need no decision any more; returns whether there were any."""
    lower = f"{ANY_REVISION} and revision < %(revision)s"
    held = conn.execute(
        f"update ops.slice set status = 'superseded' where {lower} and status = 'held'",  # noqa: S608 (a constant)
        slice_.key(),
    )
    if held.rowcount:
        conn.execute(
            f"update ops.hold set closed_as = 'superseded' where {lower} and closed_as is null",  # noqa: S608 (a constant)
            slice_.key(),
        )
    return bool(held.rowcount)


def load_again(conn: psycopg.Connection, slice_: Slice, load_id: int) -> None:
    """Notes that a slice that was held is in force, by a load of its own, for the next build."""
    conn.execute(
        "update ops.slice set status = 'loaded', load_id = %(load_id)s, retry_load_ids = '{}', loaded_at = now(),"  # noqa: S608 (a constant)
        f" build_id = null where {THIS_SLICE}",
        {**slice_.key(), "load_id": load_id},
    )


# The slice stays the load that it was: what a publication has seen of it cannot be held back any more.
_CHANGED_BY = "retry_load_ids = retry_load_ids || %(load_ids)s::bigint[], build_id = null"


def replace_counts(conn: psycopg.Connection, slice_: Slice, intake: Intake, load_id: int) -> None:
    """Notes what reading a slice in force again came to; the next build covers it."""
    counted = _counted(intake.rows.counts)
    changes = ", ".join(f"{name} = %({name})s" for name in counted)
    drift = Jsonb(masking.safe_findings(intake.found)) if intake.found else None
    conn.execute(
        f"update ops.slice set {changes}, file_format = %(format)s, drift = %(drift)s, {_CHANGED_BY}"  # noqa: S608 (constants)
        f" where {THIS_SLICE}",
        {**slice_.key(), **counted, "format": intake.format, "drift": drift, "load_ids": [load_id]},
    )


def add_counts(conn: psycopg.Connection, slice_: Slice, more: Counts, load_id: int | None) -> None:
    """Adds to the counts of a slice in force, by a load (None: no row was loaded); the next build covers it."""
    conn.execute(
        "update ops.slice set rows_accepted = rows_accepted + %(accepted)s,"  # noqa: S608 (constants)
        " rows_quarantined = rows_quarantined + %(quarantined)s, warnings = warnings + %(warnings)s,"
        " rows_nik_valid = rows_nik_valid + %(nik_valid)s, rows_contactable = rows_contactable + %(contactable)s,"
        f" {_CHANGED_BY} where {THIS_SLICE}",
        {**slice_.key(), **asdict(more), "load_ids": [] if load_id is None else [load_id]},
    )


def forget_landing(conn: psycopg.Connection, uris: list[str]) -> None:
    """Notes that slices have no landed bytes any more, in the caller's transaction."""
    conn.execute("update ops.slice set landed_uri = null where landed_uri = any(%s)", [uris])


def move_landing(conn: psycopg.Connection, old: str, new: str) -> None:
    """Notes that landing lies under the root `new` instead of `old`, in the caller's transaction, as the owner."""
    for table in ("slice", "landed_rewrite"):
        conn.execute(
            sql.SQL(
                "update ops.{} set landed_uri = %(new)s || substr(landed_uri, length(%(old)s) + 1)"
                " where starts_with(landed_uri, %(old)s || '/')"
            ).format(sql.Identifier(table)),
            {"old": old, "new": new},
        )


def move_to_quarantine(conn: psycopg.Connection, slice_: Slice, rows: int) -> None:
    """Moves rows of a slice that is not in force from the accepted to the quarantined ones, in its counts."""
    conn.execute(
        "update ops.slice set rows_accepted = rows_accepted - %(rows)s,"  # noqa: S608 (constants)
        f" rows_quarantined = rows_quarantined + %(rows)s where {THIS_SLICE}",
        {**slice_.key(), "rows": rows},
    )


def note_loaded(conn: psycopg.Connection, slice_: Slice, warnings: int, contactable: int | None) -> None:
    """Notes warnings and contactable rows of a slice whose accepted rows were counted again."""
    conn.execute(
        "update ops.slice set warnings = %(warnings)s, rows_contactable = %(contactable)s"  # noqa: S608 (constants)
        f" where {THIS_SLICE}",
        {**slice_.key(), "warnings": warnings, "contactable": contactable},
    )
