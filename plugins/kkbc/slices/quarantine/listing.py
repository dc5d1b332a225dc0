"""Listing: quarantined rows in groups, and one slice or row with all that is known of it. Read by role auditor."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import psycopg
from psycopg.rows import dict_row

from kkbc.core import clock
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.core.tokens import load_marks_key, subject
from kkbc.exchange.contracts import load_contract
from kkbc.intake.landing import Landing
from kkbc.intake.process import read_lines
from kkbc.slices.note import AuditNote
from kkbc.slices.quarantine.selection import CHOSEN, Address, Selection
from kkbc.warehouse import connect
from kkbc.warehouse.access_record import note_access
from kkbc.warehouse.vault_readers import check_persons_allowed

DictConnection = psycopg.Connection[dict[str, Any]]

# Sixteen digits, also with a separator between some of them.
_NIK_IN_TEXT = re.compile(r"(?<![0-9])[0-9](?:[ .'-]?[0-9]){15}(?![0-9])")

_GROUPS = f"""
select q.branch_id, q.feed, q.business_date, code, q.closed_as, count(*) as rows, min(q.first_seen_at) as first_seen_at
from ops.quarantine q cross join unnest(q.errors) as code
where (q.closed_at is not null) = %(closed)s and {CHOSEN} and (%(code)s::text is null or code = %(code)s)
group by q.branch_id, q.feed, q.business_date, code, q.closed_as
order by q.business_date desc, q.branch_id, q.feed, count(*) desc, code, q.closed_as
"""  # noqa: S608 (a constant)

_SUM = f"""
select count(*) as rows, count(distinct (q.feed, q.branch_id, q.business_date, q.revision)) as slices
from ops.quarantine q where (q.closed_at is not null) = %(closed)s and {CHOSEN}
"""  # noqa: S608 (a constant)

_SLICE = """
select feed, branch_id, business_date, revision, status, reason, detail, sent_at, loaded_at, file_name, landed_uri,
    rows_sent, rows_accepted, rows_quarantined
from ops.slice
where feed = %(feed)s and branch_id = %(branch_id)s and business_date = %(business_date)s
    and (revision = %(revision)s or (%(revision)s::integer is null and status = 'loaded'))
"""

_REVISIONS = """
select revision, status, reason from ops.slice
where feed = %(feed)s and branch_id = %(branch_id)s and business_date = %(business_date)s order by revision
"""

_ROWS = """
select line, errors, warnings, fields, first_seen_at, closed_at, closed_as, closed_why
from ops.quarantine
where feed = %(feed)s and branch_id = %(branch_id)s and business_date = %(business_date)s
    and revision = %(revision)s and (%(line)s::bigint is null or line = %(line)s)
order by line
"""

_EVENTS = """
select line, happened_at, event, errors_before, errors_after, fields_before, fields_after, why, done_by
from ops.quarantine_event
where feed = %(feed)s and branch_id = %(branch_id)s and business_date = %(business_date)s
    and revision = %(revision)s and (%(line)s::bigint is null or line = %(line)s)
order by event_id
"""


@dataclass(frozen=True)
class Listing:
    """Quarantined rows by branch, feed, day and code.

    A row with two codes is in two of `groups`, and counts once in `rows`. `groups` have branch_id, feed,
    business_date, code, closed_as, rows, first_seen_at (of the oldest) and age_days.
    """

    rows: int
    slices: int
    groups: list[dict[str, Any]]


@dataclass(frozen=True)
class Shown:
    """A slice as ops.slice has it, and its quarantined rows, each with its `history` and perhaps its `raw` text."""

    slice: dict[str, Any]
    rows: list[dict[str, Any]] = field(default_factory=list)


def list_groups(selection: Selection, *, closed: bool = False) -> Listing:
    """The open rows that `selection` lets through, or those that were closed, the latest business date first."""
    values = {**selection.parameters(), "closed": closed}
    with _reading() as conn:
        groups = conn.execute(_GROUPS, values).fetchall()
        found = conn.execute(_SUM, values).fetchone()
    assert found is not None
    now = clock.now()
    return Listing(
        found["rows"],
        found["slices"],
        [{**group, "age_days": _days(group["first_seen_at"], now)} for group in groups],
    )


def show(address: Address, *, persons: AuditNote | None = None) -> Shown:
    """One slice with its quarantined rows, or with one of them. With `persons` each has its text as sent.

    `persons`: who wants to see them and why, which goes to `ops.access`.
    Raises UserError when there is no such slice or row, when the login may not see persons, and when the text is gone.
    """
    if persons:
        check_persons_allowed()
    values: dict[str, Any] = {
        "feed": address.feed,
        "branch_id": address.branch_id,
        "business_date": address.business_date,
        "revision": address.revision,
        "line": address.line,
    }
    with _reading() as conn:
        found = conn.execute(_SLICE, values).fetchone()
        if found is None:
            raise UserError(f"{address} is {_why_not(conn, values)}")
        values["revision"] = found["revision"]
        rows = conn.execute(_ROWS, values).fetchall()
        events = conn.execute(_EVENTS, values).fetchall()
    if address.line is not None and not rows:
        raise UserError(
            f"line {address.line} of {address} was never quarantined", f"`kkbc quarantine show {address}` lists them"
        )
    history: dict[int, list[dict[str, Any]]] = {}
    for event in events:
        history.setdefault(event.pop("line"), []).append(event)
    shown = [{**row, "history": history.get(row["line"], [])} for row in rows]
    if persons:
        texts = _texts(found, [row["line"] for row in rows])
        where = address if address.line is None else f"{address}:{address.line}"
        note_persons(f"quarantine show {where}", persons, texts.values(), len(texts))
        shown = [{**row, "raw": texts.get(row["line"])} for row in shown]
    return Shown(found, shown)


def note_persons(action: str, note: AuditNote, texts: Iterable[str], rows: int) -> None:
    """Puts on record that text as sent is about to be shown: to whom, why, and of whom, by the NIKs in it."""
    key = load_marks_key()
    niks = {re.sub("[^0-9]", "", found) for text in texts for found in _NIK_IN_TEXT.findall(text)}
    note_access(
        action,
        done_by=note.done_by,
        why=note.why.strip(),
        subjects=sorted(subject(nik, key) for nik in niks),
        rows=rows,
        role="pii",
    )


def _texts(slice_: dict[str, Any], lines: list[int]) -> dict[int, str]:
    if not lines:
        return {}
    landing = Landing(get_settings().landing)
    with landing.open(slice_["landed_uri"], slice_["file_name"]) as landed:
        frames = read_lines(landed, load_contract(slice_["feed"]), slice_["rows_sent"], lines)
        return {line: text for frame in frames for line, text in frame.select("_line", "_raw").iter_rows()}


def _why_not(conn: DictConnection, values: dict[str, Any]) -> str:
    """Why a slice is not found, and which of its revisions are there."""
    revisions = conn.execute(_REVISIONS, values).fetchall()
    if not revisions:
        return "not known: nothing of it was delivered yet"
    known = ", ".join(f"/r{r['revision']} ({r['status']}{' ' + r['reason'] if r['reason'] else ''})" for r in revisions)
    if values["revision"] is None:
        return f"not in force in any revision; there is {known}"
    return f"not known in that revision; there is {known}"


def _reading() -> DictConnection:
    conn = cast(DictConnection, connect("auditor"))
    conn.row_factory = dict_row
    return conn


def _days(then: datetime, now: datetime) -> int:
    return (now - then).days
