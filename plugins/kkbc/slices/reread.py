"""Re-reading: slices in force are read and judged anew from landing, by the contracts of today, and replaced whole.

Landing stands for the branch: nobody is visited. What comes out is what a first load of the same bytes would bring. The
quarantine keeps its history, as with a retry: a row that passes now is closed as accepted, one that is bad is opened.
"""

from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

import polars as pl
import psycopg
from psycopg.types.json import Jsonb

from kkbc.core import tokens
from kkbc.core.errors import SliceRejected, UserError
from kkbc.core.settings import get_settings
from kkbc.exchange import masking
from kkbc.exchange.contracts import load_contract
from kkbc.exchange.registry import load_registry
from kkbc.exchange.slices import Entry, Slice
from kkbc.intake.landing import Landing
from kkbc.intake.process import Intake, take_in
from kkbc.intake.validation import Context
from kkbc.slices.load import (
    SliceRecord,
    all_rows,
    as_array,
    copy_frame,
    copy_rows,
    delete_rows,
    lock_slice,
    next_load_id,
)
from kkbc.slices.quarantine import Deed
from kkbc.warehouse import locks


@dataclass(frozen=True)
class Reread:
    """What came of one slice. passed: quarantined rows that are accepted now; found: accepted ones that are not."""

    slice: Slice
    rows: int
    accepted: int
    passed: int
    found: int


@dataclass
class RereadReport:
    """What came of some slices; `failed` names those that could not be read again, and why: they are as before."""

    slices: list[Reread] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Sums over all slices, as JSON values."""
        names = ("rows", "accepted", "passed", "found")
        sums = {name: sum(getattr(done, name) for done in self.slices) for name in names}
        return {"slices": len(self.slices), **sums, "failed": self.failed}


def reread(conn: psycopg.Connection, branch_id: str, since: date, until: date, deed: Deed) -> RereadReport:
    """Reads the slices in force of a branch and of these business dates again, each in one transaction of its own.

    `conn` acts as role loader, in autocommit mode. Pulls of the branch wait meanwhile. Reading again changes nothing
    but what today's contracts, code lists and registry say differently; the next build covers the slices either way.
    Raises UserError for a branch that is not in the registry, a broken contract, and a missing key, Busy for another
    that does not end.
    """
    zone = load_registry().get(branch_id).zone
    offices = frozenset(office.branch_id for office in load_registry().offices)
    landing, key, report = Landing(get_settings().landing), tokens.load_key(), RereadReport()
    with locks.held_branch(branch_id, f"re-read of {branch_id}", role="loader"):
        for record in _in_force(conn, branch_id, since, until):
            slice_ = record.slice
            context = Context(slice_, zone, record.sent_at, offices, seen_at=record.manifest_seen_at)
            try:
                intake = _judge(landing, record, context, key)
            except (UserError, SliceRejected) as error:
                report.failed[str(slice_)] = str(error)
            else:
                report.slices.append(_replace(conn, record, intake, deed))
    return report


def _in_force(conn: psycopg.Connection, branch_id: str, since: date, until: date) -> list[SliceRecord]:
    rows = conn.execute(
        "select feed, business_date, revision, run_id, manifest_sha256, manifest_rows, sent_at, file_name, file_format,"
        " bytes, sha256, landed_uri, manifest_seen_at from ops.slice"
        " where status = 'loaded' and branch_id = %s and business_date between %s and %s order by business_date, feed",
        [branch_id, since, until],
    ).fetchall()
    return [SliceRecord(Slice(row[0], branch_id, row[1], row[2]), *row[3:]) for row in rows]


def _judge(landing: Landing, record: SliceRecord, context: Context, key: bytes) -> Intake:
    slice_ = record.slice
    contract = load_contract(slice_.feed)
    if record.landed_uri is None:
        raise UserError(f"{slice_} was not landed", "ask the branch for a revision")
    with landing.open(record.landed_uri, record.file_name) as landed:
        if landed.sha256 != record.sha256:
            raise UserError(
                f"the landed file of {slice_} is not the one that was loaded", "restore landing from its backup"
            )
        entry = Entry(slice_.feed, record.manifest_rows, landed.name, landed.bytes, landed.sha256)
        return take_in(landed, entry, contract, context, landing, key)


def _replace(conn: psycopg.Connection, record: SliceRecord, intake: Intake, deed: Deed) -> Reread:
    """Puts the rows in the place of those that are there. A slice that is in force no more is left alone."""
    slice_, counts = record.slice, intake.rows.counts
    contract = load_contract(slice_.feed)
    with conn.transaction():
        if lock_slice(conn, slice_) != slice_.revision:
            return Reread(slice_, 0, 0, 0, 0)
        load_id = next_load_id(conn)
        delete_rows(conn, contract, slice_)
        all_rows(counts.accepted, copy_rows(conn, contract, record, intake.rows.accepted, load_id))
        values = {
            "feed": slice_.feed,
            "branch_id": slice_.branch_id,
            "business_date": slice_.business_date,
            "revision": slice_.revision,
            "why": deed.why,
            "done_by": deed.done_by,
            "run_id": deed.run_id,
            "load_id": load_id,
        }
        passed, found = _settle_quarantine(conn, intake, values)
        conn.execute(
            _COUNT,
            values
            | asdict(counts)
            | {"format": intake.format, "drift": Jsonb(masking.safe_findings(intake.found)) if intake.found else None},
        )
    return Reread(slice_, intake.rows.sent, counts.accepted, passed, found)


def _settle_quarantine(conn: psycopg.Connection, intake: Intake, values: dict[str, Any]) -> tuple[int, int]:
    """Brings the quarantine of a slice to the verdicts of today; returns rows that pass now and that are bad now."""
    conn.execute(
        "create temporary table judged (line bigint primary key, errors text[] not null, warnings text[] not null,"
        " fields text[] not null)"
    )
    for frame in intake.rows.quarantined:
        codes = [as_array(name).alias(name[1:]) for name in ("_errors", "_warnings", "_fields")]
        copy_frame(conn, ("pg_temp", "judged"), frame.select(pl.col("_line").alias("line"), *codes))
    conn.execute(_COMPARE, values)
    for statement in (_OPEN, _CHANGE, _CLOSE, _NOTE):
        conn.execute(statement, values)
    rows = conn.execute("select event, count(*) from pg_temp.moved group by event").fetchall()
    conn.execute("drop table pg_temp.judged, pg_temp.moved")
    moved: dict[str, int] = dict(rows)
    return moved.get("accepted", 0), moved.get("found", 0)


# What stood and what was found now, line by line; event null: nothing moved. An accepted row has no errors, though the
# quarantine still knows those that it once had.
_COMPARE = """
create temporary table moved as
select
    %(feed)s as feed, %(branch_id)s as branch_id, %(business_date)s::date as business_date, %(revision)s as revision,
    line,
    case
        when v.errors is null and q.closed_as is distinct from 'accepted' then 'accepted'
        when v.errors is not null and (q.errors is null or q.closed_as = 'accepted') then 'found'
        when (q.errors, q.warnings, q.fields) is distinct from (v.errors, v.warnings, v.fields)
            and v.errors is not null then 'judged_anew'
    end as event,
    case when q.closed_as is distinct from 'accepted' then coalesce(q.errors, '{}') else '{}' end as errors_before,
    case when q.closed_as is distinct from 'accepted' then coalesce(q.fields, '{}') else '{}' end as fields_before,
    coalesce(v.errors, '{}') as errors_after,
    coalesce(v.fields, '{}') as fields_after,
    v.warnings
from (
    select * from ops.quarantine
    where feed = %(feed)s and branch_id = %(branch_id)s and business_date = %(business_date)s
        and revision = %(revision)s
) as q
full join pg_temp.judged v using (line)
"""

_OPEN = """
insert into ops.quarantine as q (feed, branch_id, business_date, revision, line, errors, warnings, fields, load_id)
select feed, branch_id, business_date, revision, line, errors_after, warnings, fields_after, %(load_id)s
from pg_temp.moved where event = 'found'
on conflict (feed, branch_id, business_date, revision, line) do update
set errors = excluded.errors, warnings = excluded.warnings, fields = excluded.fields,
    closed_at = null, closed_as = null, closed_why = null
"""

_CHANGE = """
update ops.quarantine q set errors = m.errors_after, warnings = m.warnings, fields = m.fields_after
from pg_temp.moved m
where (q.feed, q.branch_id, q.business_date, q.revision, q.line)
    = (m.feed, m.branch_id, m.business_date, m.revision, m.line) and m.event = 'judged_anew'
"""

_CLOSE = """
update ops.quarantine q set closed_at = now(), closed_as = 'accepted', closed_why = %(why)s
from pg_temp.moved m
where (q.feed, q.branch_id, q.business_date, q.revision, q.line)
    = (m.feed, m.branch_id, m.business_date, m.revision, m.line) and m.event = 'accepted'
"""

_NOTE = """
insert into ops.quarantine_event (feed, branch_id, business_date, revision, line, event,
    errors_before, errors_after, fields_before, fields_after, why, done_by, load_id, run_id)
select feed, branch_id, business_date, revision, line, event,
    errors_before, errors_after, fields_before, fields_after, %(why)s, %(done_by)s, %(load_id)s, %(run_id)s
from pg_temp.moved where event is not null order by line
"""

# The slice stays the load that it was: what a publication has seen of it cannot be held back any more.
_COUNT = """
update ops.slice set
    rows_accepted = %(accepted)s,
    rows_quarantined = %(quarantined)s,
    warnings = %(warnings)s,
    rows_nik_valid = %(nik_valid)s,
    rows_contactable = %(contactable)s,
    file_format = %(format)s,
    drift = %(drift)s,
    retry_load_ids = retry_load_ids || %(load_id)s::bigint,
    build_id = null
where feed = %(feed)s and branch_id = %(branch_id)s and business_date = %(business_date)s and revision = %(revision)s
"""
