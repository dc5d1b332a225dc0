"""The record of one visit to a branch: what it brought, and its row of ops.attempt from the first moment on."""

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import psycopg

from kkbc.core import clock
from kkbc.exchange.registry import Branch

# What a report holds, of a branch that has no end of things to report.
MAX_NOTES = 500
NOTE_CHARACTERS = 500


@dataclass
class PullReport:
    """What one visit to a branch brought. `notes` are lines for the operator, without personal data."""

    branch_id: str
    kind: str
    started_at: datetime
    finished_at: datetime | None = None
    loaded: int = 0
    rejected: int = 0
    superseded: int = 0
    load_seconds: float = 0.0
    bytes: int = 0
    rows: int = 0
    outcome: str = "nothing_new"
    reason: str | None = None
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Adds a line, as far as a report has room for lines, and whatever characters are in it."""
        if len(self.notes) < MAX_NOTES:
            self.notes.append(storable(text)[:NOTE_CHARACTERS])
        elif len(self.notes) == MAX_NOTES:
            self.notes.append("there are more notes than these")

    def summary(self) -> dict[str, Any]:
        """The report as JSON values."""
        values = asdict(self)
        for name in ("started_at", "finished_at"):
            values[name] = values[name] and values[name].isoformat()
        return values


def storable(text: str) -> str:
    """A text as every store can hold it: NUL and lone surrogates are escaped (Exchange rule 38)."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")


def open_attempt(conn: psycopg.Connection, run_id: str, report: PullReport) -> int:
    """Notes that a visit begins; returns its attempt_id."""
    row = conn.execute(
        "insert into ops.attempt (run_id, branch_id, kind, started_at, outcome)"
        " values (%s, %s, %s, %s, 'running') returning attempt_id",
        [run_id, report.branch_id, report.kind, report.started_at],
    ).fetchone()
    assert row is not None
    return int(row[0])


def close_stale_attempts(conn: psycopg.Connection, branch: Branch, attempt_id: int) -> None:
    """Notes earlier attempts as killed that are still noted as running: who holds the branch's lock knows that."""
    conn.execute(
        "update ops.attempt set outcome = 'killed', finished_at = now(), reason = 'the process or its connection ended'"
        " where branch_id = %s and outcome = 'running' and attempt_id < %s",
        [branch.branch_id, attempt_id],
    )


def close_attempt(conn: psycopg.Connection, attempt_id: int, report: PullReport) -> None:
    """Notes what the visit brought, and that it has ended; what it committed has reached the server's disk then."""
    report.finished_at = clock.now()
    with conn.transaction():
        conn.execute("set local synchronous_commit = default")
        conn.execute(
            "update ops.attempt set finished_at = %s, load_seconds = %s, slices = %s, bytes = %s, rows = %s,"
            " outcome = %s, reason = %s, notes = %s where attempt_id = %s",
            [
                report.finished_at,
                report.load_seconds,
                report.loaded + report.rejected + report.superseded,
                report.bytes,
                report.rows,
                report.outcome,
                report.reason,
                report.notes,
                attempt_id,
            ],
        )
