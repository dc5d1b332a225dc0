"""The record of who looked at persons: `ops.access`, which no role can change, a chain of hashes.

An access is noted, and that is committed, before anything is read or done, so that no failure afterwards can hide it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kkbc.warehouse.connection import Role, connect


@dataclass(frozen=True)
class Fault:
    """A place where the record is not as it was written."""

    access_id: int
    fault: str


def note_access(
    action: str,
    *,
    done_by: str,
    why: str,
    subjects: Sequence[str] = (),
    rows: int | None = None,
    role: Role | None = "loader",
) -> int:
    """Notes, in a transaction of its own, that personal data are about to be used; returns the number of the entry.

    action: what is done, in a word or two, such as `subject-report`. done_by: the person or DAG run. subjects: keyed
    hashes of the persons concerned (kkbc.core.tokens), never NIKs. rows: how many rows are read, where that is known.
    """
    with connect(role) as conn:
        row = conn.execute(
            "select ops.note_access(%s, %s, %s, %s, %s)", [action, done_by, why, list(subjects), rows]
        ).fetchone()
    assert row is not None
    return int(row[0])


def faults() -> list[Fault]:
    """Where the record was changed, cut or rolled back, in its order; empty when all is as it was written."""
    with connect("auditor") as conn:
        return [Fault(*row) for row in conn.execute("select access_id, fault from ops.access_faults()").fetchall()]
