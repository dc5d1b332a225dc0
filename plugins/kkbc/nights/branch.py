"""What a run does with one branch: visits it, or reads again what it landed before."""

from datetime import date
from typing import Any

import psycopg

from kkbc.core.errors import UserError
from kkbc.exchange.masking import without_texts
from kkbc.exchange.registry import load_registry
from kkbc.nights.request import read_request
from kkbc.nights.setup import by_its_way
from kkbc.nights.visit import pull
from kkbc.slices import AuditNote, reread
from kkbc.warehouse import connect, locks
from kkbc.warehouse.connection import as_user_error
from kkbc.warehouse.reuse import reused


def pull_branch(run_id: str, branch_id: str) -> dict[str, Any]:
    """Takes in of one branch what its run asks for. Returns the report as JSON values.

    That is what is outstanding (kkbc.nights.visit.pull), or in a run that reads landing again the slices of its days
    (reread_branch). Raises UserError for a run that was not opened or a branch that is none, and what those raise.
    """
    branch = load_registry().get(branch_id)
    with reused("loader", autocommit=True, set_up=_for_visits) as conn:
        request = read_request(conn, run_id)
        if request.reread is not None:
            note = AuditNote("backfill", request.requested_by or run_id, run_id)
            with connect("loader", autocommit=True) as rereading:
                return reread_branch(rereading, branch_id, *request.reread, note)
        branch = by_its_way(branch, request.ways)
        try:
            with without_texts():
                return pull(conn, branch, run_id=run_id, until=request.day, root=request.source_root).summary()
        except psycopg.errors.DiskFull as error:
            raise as_user_error(error) from error


def _for_visits(conn: psycopg.Connection) -> None:
    # Otherwise the server would not look for its client while that waits, say, for the end of a build.
    locks.end_with_client(conn)
    # The last commit of a visit waits for the disk, and with it for all before (kkbc.nights.attempt.close_attempt).
    conn.execute("set synchronous_commit = off")


@without_texts()
def reread_branch(
    conn: psycopg.Connection, branch_id: str, since: date, until: date, note: AuditNote
) -> dict[str, Any]:
    """Reads one branch's slices of these days again; see kkbc.slices.reread.reread. Returns the summary.

    `conn` acts as role loader, in autocommit mode. Raises UserError when a slice could not be read again; the others
    were all the same.
    """
    report = reread(conn, branch_id, since, until, note)
    if report.failed:
        raise UserError(
            f"{len(report.failed)} slices of {branch_id} could not be read again",
            "; ".join(f"{slice_}: {reason}" for slice_, reason in report.failed.items()),
        )
    return report.summary()
