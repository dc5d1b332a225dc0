"""The record of who looked at persons: `ops.access`, which no role can change, a chain of hashes.

An access is noted, and that is committed, before anything is read or done, so that no failure afterwards can hide it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row

from kkbc.core.errors import UserError
from kkbc.warehouse.connection import Role, connect


@dataclass(frozen=True)
class Fault:
    """A place where the record is not as it was written."""

    access_id: int
    fault: str


@dataclass(frozen=True)
class Gap:
    """Numbers that no entry has, from the first to the last."""

    first: int
    last: int


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


def acknowledge(number: int, *, done_by: str, why: str) -> Gap:
    """Notes that a gap is known, of which `number` is one: an entry of the record. It is no fault from then on.

    Raises UserError for a number that is not missing, and for a login that does not own the database, as a look that
    was rolled back is not for whoever looked to excuse.
    """
    with connect() as conn:
        owns = "select session_user = pg_get_userbyid(datdba) from pg_database where datname = current_database()"
        if conn.execute(owns).fetchone() != (True,):
            raise UserError("only the owner of the database acknowledges a gap", "log in as that")
        gap = conn.execute(_GAP, {"number": number}).fetchone()
    if gap is None or not any(gap[0] <= fault.access_id <= gap[1] for fault in faults()):
        raise UserError(f"no gap with the number {number} is open", "`kkbc access verify` lists them")
    found = Gap(*gap)
    note_access(f"gap {found.first}-{found.last} acknowledged", done_by=done_by, why=why, role=None)
    return found


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


# The numbers around one that no entry has, up to the entries beside it or the last number that was taken.
_GAP = """
select
    coalesce((select max(a.access_id) from ops.access a where a.access_id < %(number)s), 0) + 1,
    coalesce((select min(a.access_id) from ops.access a where a.access_id > %(number)s) - 1, s.last_value)
from ops.access_id s
where s.is_called and %(number)s between 1 and s.last_value
    and not exists (select from ops.access a where a.access_id = %(number)s)
"""

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
