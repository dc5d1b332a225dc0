"""The record of who looked at persons: `ops.access`, which no role can change, a chain of hashes.

An access is noted, and that is committed, before anything is read or done, so that no failure afterwards can hide it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row

from kkbc.warehouse.connection import Role, connect


@dataclass(frozen=True)
class Fault:
    """A place where the record is not as it was written."""

    access_id: int
    fault: str


@dataclass(frozen=True)
class Head:
    """How many entries the record has, and the hash of the last one, which stands for all; empty without any."""

    entries: int
    hash: str


@dataclass(frozen=True)
class Entry:
    """A use of personal data. done_by: the person or DAG run; login: that of the database; rows: None: not known."""

    access_id: int
    noted_at: datetime
    action: str
    login: str
    done_by: str
    why: str
    persons: int
    rows: int | None
    hash: str


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


def head(conn: psycopg.Connection) -> Head:
    """Length and last hash of the record; `conn` acts as role auditor."""
    row = conn.execute(
        "select count(*), coalesce((select a.hash from ops.access a order by a.access_id desc limit 1), '')"
        " from ops.access"
    ).fetchone()
    assert row is not None
    return Head(*row)


def holds(known: str) -> bool:
    """Whether an entry of the record has this hash, or one that begins so."""
    with connect("auditor") as conn:
        row = conn.execute("select exists (select from ops.access where starts_with(hash, %s))", [known]).fetchone()
    return row is not None and bool(row[0])


_ENTRIES = """
select a.access_id, a.noted_at, a.action, a.login, a.done_by, a.why,
    greatest(cardinality(a.subjects), ops.persons_seen(a.access_id)) as persons, a.rows, a.hash
from {} a where %(since)s::timestamptz is null or a.noted_at >= %(since)s order by a.access_id
"""


def entries(*, since: datetime | None = None, person: tuple[str, str] | None = None) -> list[Entry]:
    """The entries in their order, from a moment on; of one person alone by subject and token (kkbc.core.tokens)."""
    of = "ops.accesses_of(%(subject)s, %(token)s)" if person else "ops.access"
    subject, token = person or (None, None)
    with connect("auditor") as conn, conn.cursor(row_factory=class_row(Entry)) as cursor:
        values = {"since": since, "subject": subject, "token": token}
        return cursor.execute(_ENTRIES.format(of), values).fetchall()
