"""Holding: a branch's new slices are kept out of a publication, and brought back when a person releases them.

The rows of a held slice lie in landing alone. Raw then holds what it would if the slice had never come: the revision
that was published before, if there was one, is put back. So models and marts need not know of it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, cast

import polars as pl
import psycopg
from psycopg.rows import dict_row

from kkbc.core.errors import SliceRejected, UserError
from kkbc.core.settings import get_settings
from kkbc.core.spool import spool_folder
from kkbc.exchange.contracts import Contract, load_contract
from kkbc.exchange.slices import Slice
from kkbc.intake.landing import Landing
from kkbc.intake.rows import Counts
from kkbc.slices.erasing import erased_lines, settle_erased
from kkbc.slices.loading import replace_in_force
from kkbc.slices.locks import lock_slice
from kkbc.slices.note import AuditNote
from kkbc.slices.record import THIS_SLICE, SliceRecord, load_again, note_loaded, set_status
from kkbc.slices.rejudging import Rejudge
from kkbc.slices.rows import check_complete, copy_rows, delete_rows, next_load_id
from kkbc.slices.settling import reopen_superseded
from kkbc.slices.suppressing import load_suppression
from kkbc.warehouse import connect

# In force, in this build, in no publication yet, and never released: what the view audit.slices calls new.
_NEW = """
select feed, branch_id, business_date, revision from ops.slice s
where build_id = %s and status = 'loaded' and branch_id = %s
    and load_id > coalesce((select max(load_id) from ops.build where outcome = 'published'), 0)
    and not exists (select from ops.hold h where (h.feed, h.branch_id, h.business_date, h.revision)
        = (s.feed, s.branch_id, s.business_date, s.revision))
order by feed, business_date
"""

# What went through a gate: a publication, or a person.
_EARLIER = """
select max(revision) from ops.slice s
where feed = %(feed)s and branch_id = %(branch_id)s and business_date = %(business_date)s
    and revision < %(revision)s and status = 'superseded'
    and (load_id <= (select max(load_id) from ops.build where outcome = 'published')
        or exists (select from ops.hold h where (h.feed, h.branch_id, h.business_date, h.revision)
            = (s.feed, s.branch_id, s.business_date, s.revision) and h.released_at is not null))
"""

_OPEN = f"select closed_as from ops.hold where {THIS_SLICE} for update"  # noqa: S608 (a constant)

_RELEASE = (
    "update ops.hold set released_at = now(), released_by = %(done_by)s, release_why = %(why)s,"  # noqa: S608 (a constant)
    f" closed_as = 'released' where {THIS_SLICE}"
)

_HOLD = """
insert into ops.hold (feed, branch_id, business_date, revision, build_id, reasons, restored_revision)
values (%(feed)s, %(branch_id)s, %(business_date)s, %(revision)s, %(build_id)s, %(reasons)s, %(earlier)s)
"""

# Lines that are no longer what they were when the slice was first loaded, and the load that accepted them since.
_CHANGED = f"""
select line, closed_as = 'accepted', (
    select max(e.load_id) from ops.quarantine_event e
    where (e.feed, e.branch_id, e.business_date, e.revision, e.line)
        = (q.feed, q.branch_id, q.business_date, q.revision, q.line) and e.event = 'accepted'
)
from ops.quarantine q where {THIS_SLICE}
"""  # noqa: S608 (a constant)


_ERASED_BEFORE = AuditNote("the person was erased while the slice was not in force", "kkbc")


@dataclass(frozen=True)
class Held:
    """A row of ops.hold. `restored_revision` is in force meanwhile; `closed_as` None: still held."""

    feed: str
    branch_id: str
    business_date: date
    revision: int
    build_id: int
    held_at: datetime
    reasons: list[str]
    restored_revision: int | None
    released_at: datetime | None
    released_by: str | None
    release_why: str | None
    closed_as: str | None

    @property
    def slice(self) -> Slice:
        """The slice that is held."""
        return Slice(self.feed, self.branch_id, self.business_date, self.revision)


def hold(conn: psycopg.Connection, build_id: int, branch_id: str, reasons: Mapping[str, Sequence[str]]) -> list[Slice]:
    """Takes the new slices of a branch out of `build_id`, all in one transaction; returns them.

    `conn` acts as role loader, in autocommit mode. Those that `reasons` names, by slice as text, are held for what it
    says, the others of the branch with them. A slice that was published before, or released by a person, stays. Holding
    again changes nothing. Raises UserError when landing no longer has the rows of the revision that is to come back.
    """
    taken = []
    with conn.transaction():
        for row in conn.execute(_NEW, [build_id, branch_id]).fetchall():
            slice_ = Slice(*row)
            # A load that was faster has superseded it: that revision is the next build's.
            if lock_slice(conn, slice_) == slice_.revision:
                companion = [f"held with {', '.join(sorted(reasons))}"]
                _take_out(conn, slice_, build_id, list(reasons.get(str(slice_), companion)))
                taken.append(slice_)
    return taken


def release(conn: psycopg.Connection, slice_: Slice, note: AuditNote) -> int:
    """Loads a held slice after all, from landing, for the next build; returns its number of accepted rows.

    `conn` acts as role loader, in autocommit mode. The reason is kept in ops.hold, and the slice is never held again.
    Raises UserError when the slice is not held, or landing no longer has its rows.
    """
    contract = load_contract(slice_.feed)
    with conn.transaction():
        in_force = lock_slice(conn, slice_)
        closed = conn.execute(_OPEN, slice_.key()).fetchone()
        if closed is None or closed[0] is not None:
            became = "it was never held" if closed is None else f"it was {closed[0]}"
            raise UserError(f"{slice_} is not held: {became}", "`kkbc gate list` shows what is")
        if in_force is not None:
            replace_in_force(conn, contract, slice_)
        load_id = next_load_id(conn)
        accepted = _put_back(conn, slice_, load_id)
        load_again(conn, slice_, load_id)
        conn.execute(_RELEASE, {**slice_.key(), **note.parameters()})
    return accepted


def holds(*, closed: bool = False) -> list[Held]:
    """The slices that are held now, or (`closed`) those that were, the latest first."""
    with connect("auditor") as plain_conn:
        conn = cast("psycopg.Connection[dict[str, Any]]", plain_conn)
        conn.row_factory = dict_row
        rows = conn.execute(
            "select * from ops.hold where (closed_as is not null) = %s"
            " order by held_at desc, branch_id, business_date, feed, revision",
            [closed],
        ).fetchall()
    return [Held(**row) for row in rows]


def _take_out(conn: psycopg.Connection, slice_: Slice, build_id: int, reasons: list[str]) -> None:
    delete_rows(conn, load_contract(slice_.feed), slice_)
    set_status(conn, slice_, "held")
    row = conn.execute(_EARLIER, slice_.key()).fetchone()
    earlier = row[0] if row is not None else None
    if earlier is not None:
        restored = Slice(slice_.feed, slice_.branch_id, slice_.business_date, earlier)
        _put_back(conn, restored)
        set_status(conn, restored, "loaded")
        reopen_superseded(conn, restored)
    conn.execute(_HOLD, {**slice_.key(), "build_id": build_id, "reasons": reasons, "earlier": earlier})


def _put_back(conn: psycopg.Connection, slice_: Slice, load_id: int | None = None) -> int:
    """Loads the accepted rows of a slice from landing, by the loads that they had or by `load_id`; returns how many.

    Rows that a retry of the quarantine accepted, or took the key of, are as the retry left them.
    """
    contract, landing = load_contract(slice_.feed), Landing(get_settings().landing)
    record = SliceRecord.load(conn, slice_)
    assert record is not None
    assert record.load_id is not None
    if record.landed_uri is None:
        raise UserError(
            f"landing no longer holds {record.slice}: it is past its time", "ask the branch for another revision"
        )
    erased = erased_lines(landing, record)
    # Since an erasure landing has fewer rows than were accepted.
    moved = settle_erased(conn, record, erased, _ERASED_BEFORE) if erased else 0
    changed, later = _after_loading(conn, slice_)
    loaded = _Loaded(contract)
    rows = (
        # Its tokens may be of any key of before.
        frame.filter(~pl.col("_line").is_in(changed.implode())).drop("participant_token", strict=False)
        for frame in landing.rows(record.landed_uri, "accepted")
    )
    copy_rows(conn, contract, record, loaded.counted(rows), load_id or record.load_id)
    for by, lines in later.items():
        copy_rows(conn, contract, record, loaded.counted(_accepted_by_retry(conn, record, lines)), load_id or by)
    check_complete(record.rows_accepted - moved, loaded.rows)
    if erased:
        note_loaded(conn, slice_, loaded.warnings, loaded.contactable if contract.contacts else None)
    return loaded.rows


class _Loaded:
    """Counts the rows that are loaded."""

    def __init__(self, contract: Contract) -> None:
        self._contacts = contract.contacts
        self.rows = self.warnings = self.contactable = 0

    def counted(self, frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        for frame in frames:
            counts = Counts.of(frame, frame.clear(), None, self._contacts)
            self.rows += counts.accepted
            self.warnings += counts.warnings
            self.contactable += counts.contactable or 0
            yield frame


def _after_loading(conn: psycopg.Connection, slice_: Slice) -> tuple[pl.Series, dict[int, list[int]]]:
    """Lines that are no longer what they were when the slice was first loaded; those accepted since, by their load."""
    rows = conn.execute(_CHANGED, slice_.key()).fetchall()
    later: dict[int, list[int]] = {}
    for line, accepted, load_id in rows:
        if accepted:
            later.setdefault(load_id, []).append(line)
    return pl.Series("_line", [row[0] for row in rows], dtype=pl.Int64), later


def _accepted_by_retry(conn: psycopg.Connection, record: SliceRecord, lines: list[int]) -> Iterator[pl.DataFrame]:
    """Rows that a retry accepted, judged once more: next to the landed bytes lies only what was accepted at first."""
    with spool_folder("held") as folder:
        try:
            rejudge = Rejudge(load_suppression(conn))
            parts = rejudge.lines(record, pl.Series("_line", sorted(lines), dtype=pl.Int64), folder)
        except SliceRejected as error:
            raise UserError(
                f"the landed file of {record.slice} cannot be read again: {error}", "ask the branch for a revision"
            ) from error
        for number in range(len(parts)):
            yield parts.read(number).accepted
