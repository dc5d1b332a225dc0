"""A small world written straight into the raw and ops tables, as loading would leave it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from psycopg import sql

Row = dict[str, Any]

JAKARTA = ZoneInfo("Asia/Jakarta")
TABLES = {"pendaftaran": "registrations", "iuran": "contributions", "kegiatan": "activities", "target": "targets"}


def jakarta(text: str) -> datetime:
    """The instant of `YYYY-MM-DD[ HH:MM[:SS]]` on a clock in Jakarta; 09:00 without a time."""
    moment = datetime.fromisoformat(text)
    return (moment if len(text) > 10 else moment.replace(hour=9)).replace(tzinfo=JAKARTA)


def day(text: str | date) -> date:
    """A date, or its ISO spelling as one."""
    return text if isinstance(text, date) else date.fromisoformat(text)


@dataclass
class World:
    """Rows by feed, slices and quarantined rows. A slice that a row needs and nobody described came on time, whole.

    inactive: first and last active day of branches; owed_from: since when a feed is owed that was not always;
    restricted: participants who are held out of the marts.
    """

    branches: list[str]
    inactive: dict[str, tuple[date | None, date | None]] = field(default_factory=dict)
    rows: dict[str, list[Row]] = field(default_factory=lambda: {feed: [] for feed in TABLES})
    slices: list[Row] = field(default_factory=list)
    quarantine: list[Row] = field(default_factory=list)
    owed_from: dict[str, date] = field(default_factory=dict)
    restricted: set[str] = field(default_factory=set)

    def registration(self, branch: str, number: str, token: str, at: str | datetime, **rest: Any) -> None:
        """One delivered state of a registration; delivered on its day unless `on` says otherwise."""
        moment = at if isinstance(at, datetime) else jakarta(at)
        row = {
            "participant_token": token,
            "registration_no": number,
            "branch_id": branch,
            "registered_at": moment,
            "birth_year": 1990,
            "sex": "P",
            "district_code": "317206",
            "occupation_code": "NELAYAN",
            "program_code": "JKK_JKM",
            "months_covered": 1,
            "channel_code": "KANTOR",
            "activity_code": None,
            "officer_code": None,
            "segment_code": "MANDIRI",
        }
        self._add("pendaftaran", branch, row, moment, rest)

    def payment(self, branch: str, number: str, token: str, start: str | date, months: int = 1, **rest: Any) -> None:
        """One delivered state of a payment for `months` from `start`; paid at 10:00 of that day unless `paid` says."""
        paid = rest.pop("paid", None) or datetime.combine(day(start), time(10), JAKARTA)
        row = {
            "participant_token": token,
            "payment_id": number,
            "branch_id": branch,
            "paid_at": paid if isinstance(paid, datetime) else jakarta(paid),
            "payment_channel": "BRI",
            "coverage_start": day(start),
            "months_covered": months,
            "program_code": "JKK_JKM",
            "jkk_amount": 10_000 * months,
            "jkm_amount": 6_800 * months,
            "jht_amount": 0,
            "total_amount": 16_800 * months,
        }
        self._add("iuran", branch, row, row["paid_at"], rest)

    def activity(self, branch: str, code: str, at: str, until: str | None = None, **rest: Any) -> None:
        """One delivered state of an activity."""
        row = {
            "activity_code": code,
            "branch_id": branch,
            "activity_type": "PASAR",
            "started_at": jakarta(at),
            "ended_at": jakarta(until or at),
            "target_occupation": None,
            "contacts": 0,
            "cost": None,
        }
        self._add("kegiatan", branch, row, row["started_at"], rest)

    def target(self, branch: str, month: str, new: int, active: int = 0, idr: int = 0, **rest: Any) -> None:
        """One delivered target of head office."""
        row = {
            "branch_id": branch,
            "month": day(f"{month}-01"),
            "target_new": new,
            "target_active": active,
            "target_idr": idr,
        }
        self._add("target", "HQ", row, jakarta(f"{month}-01"), rest)

    def slice(self, feed: str, branch: str, on: str | date, **rest: Any) -> None:
        """One revision of a slice; on time, in force and empty unless `rest` says otherwise."""
        business_date = day(on)
        row = {
            "feed": feed,
            "branch_id": branch,
            "business_date": business_date,
            "revision": 1,
            "status": "loaded",
            "sent_at": datetime.combine(business_date, time(18), JAKARTA),
            "manifest_sha256": "0" * 64,
            "rows_sent": 0,
            "rows_accepted": 0,
            "rows_quarantined": 0,
            "warnings": 0,
            "rows_nik_valid": None,
            "rows_contactable": None,
            "reason": None,
            **rest,
        }
        if row["status"] == "rejected":
            row["reason"] = row["reason"] or "CHECKSUM"
        self.slices.append(row)

    def quarantined(self, feed: str, branch: str, on: str | date, line: int, errors: list[str], **rest: Any) -> None:
        """One quarantined row."""
        row = {"feed": feed, "branch_id": branch, "business_date": day(on), "revision": 1, "line": line}
        self.quarantine.append({**row, "errors": errors, "load_id": 1, **rest})

    def write(self, conn: psycopg.Connection) -> None:
        """Writes everything; `conn` acts as the owner of the database."""
        self._complete()
        dates = sorted({row["_business_date"] for rows in self.rows.values() for row in rows})
        for month in sorted({d.replace(day=1) for d in dates}):
            conn.execute("select ops.ensure_partitions(%s)", [month])
        registry = [
            {"branch_id": b, "kind": "file", "timezone": "Asia/Jakarta", "tier": 2, "active_from": a, "active_to": z}
            for b in self.branches
            for a, z in [self.inactive.get(b, (None, None))]
        ]
        _insert(conn, "ops", "branch", registry)
        _insert(conn, "ops", "slice", self.slices)
        _insert(conn, "ops", "quarantine", self.quarantine)
        for feed, table in TABLES.items():
            _insert(conn, "raw", table, self.rows[feed])
        why = {"restricted_by": "a test", "why": "asked"}
        _insert(conn, "vault", "restricted", [{"participant_token": token, **why} for token in sorted(self.restricted)])
        conn.commit()

    def _add(self, feed: str, sender: str, row: Row, moment: datetime, rest: Row) -> None:
        on = day(rest.pop("on", moment.astimezone(JAKARTA).date()))
        # Lines grow with the order of the calls, the first below the header.
        line = len(self.rows[feed]) + 2
        lineage = {"_business_date": on, "_branch_id": sender, "_revision": 1, "_line": line, "_load_id": 1}
        if feed != "target":
            changed = rest.pop("changed", moment)
            row["updated_at"] = changed if isinstance(changed, datetime) else jakarta(changed)
            row["record_status"] = rest.pop("state", "BARU")
        self.rows[feed].append({**row, **lineage, **rest})

    def _complete(self) -> None:
        """Adds the slices that rows or quarantined rows lie in and nobody described, and counts what lies in each."""
        known = {(s["feed"], s["branch_id"], s["business_date"]) for s in self.slices}
        accepted = Counter((f, r["_branch_id"], r["_business_date"]) for f, rows in self.rows.items() for r in rows)
        stopped = Counter((q["feed"], q["branch_id"], q["business_date"]) for q in self.quarantine)
        for feed, branch, on in sorted((accepted.keys() | stopped.keys()) - known):
            good, bad = accepted[feed, branch, on], stopped[feed, branch, on]
            counts = {"rows_sent": good + bad, "rows_accepted": good, "rows_quarantined": bad}
            self.slice(feed, branch, on, **counts)


def _insert(conn: psycopg.Connection, schema: str, table: str, rows: Sequence[Row]) -> None:
    columns = sorted({column for row in rows for column in row})
    if not columns:
        return
    statement = sql.SQL("insert into {} ({}) values ({})").format(
        sql.Identifier(schema, table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(map(sql.Placeholder, columns)),
    )
    with conn.cursor() as cursor:
        cursor.executemany(statement, [{column: row.get(column) for column in columns} for row in rows])


def days(first: date, last: date) -> list[date]:
    """Every day from `first` to `last`, both included."""
    return [first + timedelta(days=i) for i in range((last - first).days + 1)]
