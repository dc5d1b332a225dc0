"""Loading: the rows of one slice into raw, vault and quarantine, once and as a whole.

Delete, COPY and the slice's row in `ops.slice` commit together, so that a crash leaves the slice as it was before.
"""

from typing import Literal

import psycopg

from kkbc.exchange.contracts import Contract
from kkbc.exchange.slices import Slice
from kkbc.intake.rewrites import Rewritten
from kkbc.intake.rows import SliceRows
from kkbc.slices.locks import lock_slice
from kkbc.slices.record import TAKEN, SliceRecord, status_of, supersede_held, supersede_in_force
from kkbc.slices.rewritten import record_rewrite
from kkbc.slices.rows import check_complete, copy_quarantine, copy_rows, delete_rows, next_load_id
from kkbc.slices.settling import supersede_quarantined

Outcome = Literal["loaded", "superseded", "rejected", "known"]


def load(
    conn: psycopg.Connection,
    contract: Contract,
    record: SliceRecord,
    rows: SliceRows,
    rewritten: Rewritten | None = None,
) -> Outcome:
    """Loads one slice in one transaction of its own; `conn` acts as role loader.

    loaded: in force now, replacing every lower revision. superseded: a higher revision is in force, so that only its
    counts are recorded. known: this revision was loaded before, by this run or another; nothing was changed.
    `rewritten`: how the landed file was rewritten meanwhile, which goes on record with the slice.
    Raises Busy, and UserError for rows that landing has lost.
    """
    slice_ = record.slice
    with conn.transaction():
        in_force = lock_slice(conn, slice_)
        if status_of(conn, slice_) in TAKEN:
            return "known"
        _record(conn, rewritten)
        load_id = next_load_id(conn)
        outcome: Literal["superseded", "loaded"] = (
            "superseded" if in_force is not None and in_force > slice_.revision else "loaded"
        )
        if outcome == "loaded":
            if in_force is not None:
                replace_in_force(conn, contract, slice_)
            if supersede_held(conn, slice_):
                supersede_quarantined(conn, slice_, below=slice_.revision)
            check_complete(rows.counts.accepted, copy_rows(conn, contract, record, rows.accepted, load_id))
        record.save(conn, outcome, counts=rows.counts, load_id=load_id)
        check_complete(rows.counts.quarantined, copy_quarantine(conn, slice_, rows.quarantined, load_id))
        if outcome == "superseded":
            supersede_quarantined(conn, slice_, below=slice_.revision + 1)
    return outcome


def reject(
    conn: psycopg.Connection, record: SliceRecord, reason: str, detail: str, rewritten: Rewritten | None = None
) -> Outcome:
    """Records that a slice was rejected; no row of it is loaded and what is in force stays so (Exchange rule 2).

    `rewritten`: how its landed file was rewritten meanwhile.
    """
    with conn.transaction():
        lock_slice(conn, record.slice)
        if status_of(conn, record.slice) in TAKEN:
            return "known"
        _record(conn, rewritten)
        record.save(conn, "rejected", reason=reason, detail=detail)
    return "rejected"


def _record(conn: psycopg.Connection, rewritten: Rewritten | None) -> None:
    if rewritten is not None:
        record_rewrite(conn, rewritten)


def replace_in_force(conn: psycopg.Connection, contract: Contract, slice_: Slice) -> None:
    """Makes room for `slice_` in place of the revision in force: its rows go, its quarantine is closed.

    Its record stays. Part of the caller's transaction.
    """
    delete_rows(conn, contract, slice_)
    supersede_in_force(conn, slice_)
    supersede_quarantined(conn, slice_, below=slice_.revision)
