"""What came of one night, as far as an operator has to know it. Read by role auditor; nothing personal in it."""

import re
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, LiteralString, cast

import psycopg
from psycopg.rows import dict_row

from kkbc.core import local_airflow
from kkbc.core.settings import get_settings
from kkbc.reporting import page_of
from kkbc.watching.board.night import branch_states

DictConnection = psycopg.Connection[dict[str, Any]]

TOP_CODES = 5
EXPECTATIONS_NAMED = 3
CAUSE_LENGTH = 600
# Numbers as long as a NIK or a phone's, tokens, addresses: an error of a library may repeat what it was given.
_PERSONAL = re.compile(r"\d{9,}|\b[0-9a-f]{32}\b|\S+@\S+")


@dataclass(frozen=True)
class NightFacts:
    """One night in figures, in the words of docs/architecture.md, "Standing".

    published: whether BI shows this business date, or a later one. live: the business date that BI shows. why: what
    kept the night from being published. missing, late: branches by id with their name; incomplete: branches with the
    feeds that are missing. rejected: slices with the reason; revisions_rejected: slices of which an earlier revision
    stands, with the reason. held: slices of any day with the reason. failed: branches that could not be
    visited, and how that ended. quarantined: rows by code, the most frequent first. board, data_docs, report: links;
    report_missing: published, but the report could not be written.
    accesses, access_head: length and last hash of the record of accesses (ops.access): kept outside the warehouse, they
    show when it was rewritten.
    """

    business_date: date
    published: bool
    publication_id: int | None = None
    published_at: datetime | None = None
    live: date | None = None
    why: str | None = None
    branches: int = 0
    missing: dict[str, str] = field(default_factory=dict)
    incomplete: dict[str, str] = field(default_factory=dict)
    late: dict[str, str] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    revisions_rejected: dict[str, str] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    quarantined: dict[str, int] = field(default_factory=dict)
    board: str | None = None
    data_docs: str | None = None
    report: str | None = None
    report_missing: bool = False
    accesses: int = 0
    access_head: str = ""

    def as_json(self) -> dict[str, Any]:
        """The facts as JSON values."""
        values = dict(vars(self))
        values |= {
            name: values[name] and values[name].isoformat() for name in ("business_date", "published_at", "live")
        }
        return values


def night_facts(conn: psycopg.Connection, business_date: date) -> NightFacts:
    """Gathers the facts of the night of `business_date`; `conn` acts as role auditor.

    A night that was never run has no branches, and is not published.
    """
    dicts = cast(DictConnection, conn)
    factory, dicts.row_factory = dicts.row_factory, dict_row
    try:
        return _gather(dicts, business_date)
    finally:
        dicts.row_factory = factory


def without_persons(text: str, length: int = 240) -> str:
    """A line of an error or a reason, fit for a message: cut, and without what could be a person's."""
    line = _PERSONAL.sub("…", " ".join(text.split()))
    return line if len(line) <= length else f"{line[: length - 1]}…"


def _gather(conn: DictConnection, day: date) -> NightFacts:
    values: dict[str, Any] = {"day": day}
    live = conn.execute(_LIVE).fetchone()
    night = conn.execute(_NIGHT, values).fetchone()
    published = live is not None and live["as_of"] >= day
    branches = branch_states(day).branches
    record = conn.execute(_RECORD).fetchone() or {}
    rejected: dict[bool, dict[str, str]] = {True: {}, False: {}}
    for row in conn.execute(_REJECTED, values):
        rejected[row["is_rejected"]][row["slice"]] = row["reason"]
    return NightFacts(
        business_date=day,
        published=published,
        publication_id=live["publication_id"] if live and published else None,
        published_at=live["published_at"] if live and published else None,
        live=live["as_of"] if live else None,
        why=None if published else _why(conn, night, live),
        branches=sum(branch.is_expected for branch in branches),
        missing={branch.branch_id: branch.branch_name for branch in branches if branch.is_missing},
        incomplete={
            branch.branch_id: ", ".join(feed for feed in branch.feeds if feed in branch.feeds_missing)
            for branch in branches
            if branch.feeds_missing and not branch.is_missing
        },
        late={branch.branch_id: branch.branch_name for branch in branches if branch.is_late},
        rejected=rejected[True],
        revisions_rejected=rejected[False],
        held={row["slice"]: without_persons(row["reason"] or "") for row in conn.execute(_HELD)},
        failed={row["branch_id"]: _kind(row["reason"]) for row in conn.execute(_FAILED, values)},
        quarantined={row["code"]: row["rows"] for row in conn.execute(_QUARANTINED, values | {"top": TOP_CODES})},
        board=_board(day),
        data_docs=_data_docs(night["build_id"]) if night and night["build_id"] else None,
        report=_report(day) if published else None,
        report_missing=published and get_settings().report_pages != "off" and page_of(day) is None,
        accesses=record.get("entries", 0),
        access_head=record.get("hash", ""),
    )


def _why(conn: DictConnection, night: dict[str, Any] | None, live: dict[str, Any] | None) -> str:
    """The cause in a line: of a failed expectation name and place, of an error its first words; no values of rows."""
    if night is None:
        return "malam ini tidak dijalankan"
    build_id, outcome = night["build_id"], night["build_outcome"]
    if build_id is None:
        return "penarikan berjalan, tetapi tidak ada pembangunan mart"
    if outcome == "gate_failed":
        failed = conn.execute(_EXPECTATIONS, {"build_id": build_id}).fetchall()
        named = "; ".join(row["told"] for row in failed[:EXPECTATIONS_NAMED])
        more = f" dan {len(failed) - EXPECTATIONS_NAMED} lagi" if len(failed) > EXPECTATIONS_NAMED else ""
        cause = f"gerbang audit menghentikan publikasi: {named or 'lihat log'}{more}"
        return without_persons(cause, CAUSE_LENGTH)
    if outcome == "failed":
        # What comes after the second colon may be a row that a test found.
        cause = ":".join((night["build_failure"] or "lihat log").split(":")[:2])
        return without_persons(f"pembangunan {build_id} gagal: {cause}")
    if outcome == "published" and live is not None and live["restores"] is not None:
        return without_persons(f"dikembalikan ke publikasi {live['restores']}: {live['why']}")
    return f"pembangunan {build_id} belum selesai"


def _kind(reason: str | None) -> str:
    """How a visit ended: the kind of the error. Its text may name hosts and logins."""
    return (reason or "killed").partition(":")[0]


def _board(day: date) -> str | None:
    site = _site()
    return f"{site}/kkbc/?day={day}" if site else None


def _report(day: date) -> str | None:
    """Where the report of a night is read: at the board's address, else the file; None when there is none."""
    page, site = page_of(day), _site()
    if page is None:
        return None
    return f"{site}/kkbc/reports/nasional?day={day}" if site else str(page)


def _site() -> str:
    """The address of Airflow; empty where it is not known. Other installations than this home's stack set it."""
    site = get_settings().site_url
    if not site:
        airflow = local_airflow.find(get_settings())
        site = airflow.url if airflow else ""
    return site.rstrip("/")


def _data_docs(build_id: int) -> str:
    return str(get_settings().home / "gx" / str(build_id) / "data_docs" / "index.html")


_LIVE: LiteralString = "select publication_id, as_of, published_at, restores, why from ops.publication_live"

_RECORD: LiteralString = """
select access_id, hash, (select count(*) from ops.access) as entries from ops.access order by access_id desc limit 1
"""

_NIGHT: LiteralString = """
select build_id, build_outcome, build_failure from ops.night where business_date = %(day)s
"""

_EXPECTATIONS: LiteralString = """
select coalesce(told, concat_ws(' ', suite, column_name, slice, observed)) as told from ops.audit_result
where build_id = %(build_id)s and not success and severity = 'fail' order by suite, expectation, slice
"""

_REJECTED: LiteralString = """
select format('%%s %%s', branch_id, feed) as slice, rejected_reason as reason, status = 'rejected' as is_rejected
from ops.slice_standing where business_date = %(day)s and rejected_revision is not null order by 1
"""

# Of any day: a held slice stays with the operators until somebody releases it.
_HELD: LiteralString = """
select format('%s %s %s', branch_id, feed, business_date) as slice, hold_reasons[1] as reason
from ops.held_slice order by 1
"""

_FAILED: LiteralString = """
select branch_id, reason from ops.branch_visit where business_date = %(day)s and is_failed order by branch_id
"""

_QUARANTINED: LiteralString = """
select code, sum(rows)::bigint as rows from ops.quarantine_by_code where business_date = %(day)s
group by code order by 2 desc, 1 limit %(top)s
"""
