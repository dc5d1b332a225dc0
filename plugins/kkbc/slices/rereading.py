"""Re-reading: slices in force are read and judged again from landing, by the contracts of today, and replaced whole.

Landing stands for the branch: nobody is visited. What comes out is what a first load of the same bytes would bring. The
quarantine keeps its history, as with a retry: a row that passes now is closed as accepted, one that is bad is opened.
"""

from dataclasses import dataclass, field
from datetime import date
from typing import Any

import psycopg

from kkbc.core.errors import SliceRejected, UserError
from kkbc.core.suppression import Suppression
from kkbc.exchange.contracts import load_contract
from kkbc.exchange.registry import load_registry
from kkbc.exchange.slices import Slice
from kkbc.intake.process import Intake
from kkbc.slices.locks import branch_locked, lock_slice
from kkbc.slices.note import AuditNote
from kkbc.slices.record import SliceRecord, replace_counts
from kkbc.slices.rejudging import Rejudge
from kkbc.slices.rewritten import record_rewrite
from kkbc.slices.rows import check_complete, copy_rows, delete_rows, next_load_id
from kkbc.slices.settling import note_verdicts, pass_all_others, settle
from kkbc.slices.suppressing import load_suppression


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


def reread(
    conn: psycopg.Connection,
    branch_id: str,
    since: date,
    until: date,
    note: AuditNote,
    suppression: Suppression | None = None,
) -> RereadReport:
    """Reads the slices in force of a branch and of these business dates again, each in one transaction of its own.

    `conn` acts as role loader, in autocommit mode. Pulls of the branch wait meanwhile. Reading again changes nothing
    but what today's contracts, code lists and registry say differently; rows of persons on the list `suppression` are
    quarantined as ERASED. The next build covers the slices either way.
    Raises UserError for a branch that is not in the registry, a broken contract, and a missing key, Busy for another
    that does not end.
    """
    load_registry().get(branch_id)
    report = RereadReport()
    with branch_locked(branch_id, f"re-read of {branch_id}"):
        rejudge = Rejudge(load_suppression(conn) if suppression is None else suppression)
        for record in SliceRecord.in_force(conn, branch_id, since, until):
            try:
                intake = rejudge.whole(record)
            except (UserError, SliceRejected) as error:
                report.failed[str(record.slice)] = str(error)
            else:
                report.slices.append(_replace(conn, record, intake, note))
    return report


def _replace(conn: psycopg.Connection, record: SliceRecord, intake: Intake, note: AuditNote) -> Reread:
    """Puts the rows in the place of those that are there. A slice that is in force no more is left alone."""
    slice_, counts = record.slice, intake.rows.counts
    contract = load_contract(slice_.feed)
    with conn.transaction():
        if intake.rewritten is not None:
            record_rewrite(conn, intake.rewritten)
        if lock_slice(conn, slice_) != slice_.revision:
            return Reread(slice_, 0, 0, 0, 0)
        load_id = next_load_id(conn)
        delete_rows(conn, contract, slice_)
        check_complete(counts.accepted, copy_rows(conn, contract, record, intake.rows.accepted, load_id))
        note_verdicts(conn, intake.rows.quarantined)
        pass_all_others(conn, slice_)
        events = settle(conn, slice_, note, load_id, refused_as="found")
        replace_counts(conn, slice_, intake, load_id)
    return Reread(slice_, intake.rows.sent, counts.accepted, events.get("accepted", 0), events.get("found", 0))
