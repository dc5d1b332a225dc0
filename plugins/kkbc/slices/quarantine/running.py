"""A retry as a run of Airflow: opened, done branch by branch, closed, and then built like a night."""

from dataclasses import replace
from typing import Any, Literal

import psycopg

from kkbc.core.errors import UserError
from kkbc.exchange.masking import without_texts
from kkbc.slices.note import AuditNote
from kkbc.slices.quarantine.retrying import retry, slices_to_retry
from kkbc.slices.quarantine.selection import Selection
from kkbc.warehouse import connect


def open_retry(run_id: str, selection: Selection, *, gate: Literal["fail", "warn"] | None = None) -> list[str]:
    """Notes a run for the retry, for the same business date as the latest night; returns the branches to visit.

    `gate` is what a failed audit of the build after it does, None: as in the settings. Without any row to retry the run
    is closed at once. Raises UserError when no night ran yet.
    """
    with connect("loader") as conn:
        branch_ids = sorted({slice_.branch_id for slice_ in slices_to_retry(conn, selection)})
        noted = conn.execute(
            "insert into ops.run (run_id, as_of, mode, gate)"
            " select %(run_id)s, max(as_of), 'airflow', %(gate)s::text from ops.run having count(*) > 0"
            " on conflict (run_id) do update set outcome = 'running', finished_at = null",
            {"run_id": run_id, "gate": gate},
        )
        if noted.rowcount == 0:
            raise UserError("no night has run yet", "there is nothing to retry before the first pull")
        if not branch_ids:
            _finish(conn, run_id)
    return branch_ids


@without_texts()
def retry_branch(branch_id: str, selection: Selection, note: AuditNote) -> dict[str, Any]:
    """Retries the chosen rows of one branch; see kkbc.slices.quarantine.retrying.retry. Returns the summary.

    Raises UserError when a slice could not be retried; the others were all the same.
    """
    with connect("loader", autocommit=True) as conn:
        report = retry(conn, replace(selection, branch=branch_id), note)
    if report.failed:
        raise UserError(
            f"{len(report.failed)} slices of {branch_id} could not be retried",
            "; ".join(f"{slice_}: {reason}" for slice_, reason in report.failed.items()),
        )
    return report.summary()


def close_retry(run_id: str) -> dict[str, Any]:
    """Sums a run up: as_of, rows by what became of them, and `news`: whether there is something to build.

    A night that came in between moves the run's business date on, so that the build does not end before it.
    """
    with connect("loader") as conn:
        row = conn.execute(
            "update ops.run set as_of = (select max(as_of) from ops.run) where run_id = %s returning as_of", [run_id]
        ).fetchone()
        if row is None:
            raise UserError(f"run {run_id!r} is not known to the warehouse", "open it first: the task open_retry does")
        events: dict[str, int] = dict(
            conn.execute(
                "select event, count(*) from ops.quarantine_event where run_id = %s group by event", [run_id]
            ).fetchall()
        )
        if not events:
            _finish(conn, run_id)
    return {
        "run_id": run_id,
        "as_of": row[0].isoformat(),
        "accepted": events.get("accepted", 0),
        "changed": events.get("judged_anew", 0),
        "displaced": events.get("displaced", 0),
        "news": bool(events),
    }


def _finish(conn: psycopg.Connection, run_id: str) -> None:
    conn.execute("update ops.run set outcome = 'nothing_new', finished_at = now() where run_id = %s", [run_id])
