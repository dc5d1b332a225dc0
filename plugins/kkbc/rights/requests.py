"""Requests: what is known of an erasure from its first word to its last, in `ops.erasure` and in a private file.

The file holds the persons, so that an erasure that was broken off goes on and one that waits for approval needs no
second input. It is removed when the persons are erased, or when the request is refused.
"""

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from kkbc.core.errors import UserError
from kkbc.core.files import write_private
from kkbc.core.settings import get_settings
from kkbc.core.spool import private_folder
from kkbc.rights.wanted import Wanted
from kkbc.warehouse import connect
from kkbc.warehouse.access_record import note_access

_ID = re.compile(r"(?![0-9]{16})[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Request:
    """A row of ops.erasure."""

    erasure_id: int
    request: str
    persons: int
    why: str
    done_by: str
    outcome: str
    proof: dict[str, Any] | None = None


@dataclass(frozen=True)
class Saved:
    """What the private file holds. found: values of the persons that are theirs alone; None: not looked for yet."""

    niks: tuple[str, ...] = field(repr=False)
    lines: tuple[int, ...]
    values: tuple[str, ...] = field(default=(), repr=False)
    found: tuple[str, ...] | None = field(default=None, repr=False)
    shared: int = 0

    @property
    def wanted(self) -> Wanted:
        """The persons."""
        return Wanted(self.niks, self.lines, self.values)


def file_of(request: str) -> Path:
    """The private file of a request. Raises UserError for a name that is none."""
    if not _ID.fullmatch(request):
        remedy = "use letters, digits, dots and hyphens, 64 at most, and no NIK"
        raise UserError(f"{request!r} cannot name a request", remedy)
    return get_settings().home / "requests" / "erase" / f"{request}.json"


def save(request: str, saved: Saved) -> None:
    """Writes the private file of a request, in place of the one that is there."""
    path = file_of(request)
    private_folder(path.parent.parent)
    private_folder(path.parent)
    write_private(path, json.dumps(asdict(saved)))


def saved_of(request: str) -> Saved | None:
    """What the private file of a request holds; None when it is gone."""
    try:
        said = json.loads(file_of(request).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    read: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in said.items()}
    return Saved(**read)


def remove(request: str) -> None:
    """Removes the private file of a request."""
    file_of(request).unlink(missing_ok=True)


def find(conn: psycopg.Connection, request: str) -> Request | None:
    """A request on record; None when there is none of that name."""
    row = conn.execute(
        "select erasure_id, request, persons, why, done_by, outcome, proof from ops.erasure where request = %s",
        [request],
    ).fetchone()
    return None if row is None else Request(*row)


def open_request(
    conn: psycopg.Connection, wanted: Wanted, *, request: str | None, why: str, who: str, outcome: str = "running"
) -> Request:
    """Puts a request on record, or finds it there; one that waited is running from here on. `conn` acts as the owner.

    Without a name a request has one that follows from its persons, so that the same persons are the same request. The
    reason of one that is on record stays. Raises UserError when the name stands for other persons, there is no reason,
    or the request was refused.
    """
    name = request or f"e-{wanted.digest[:16]}"
    file_of(name)
    if not why.strip() and find(conn, name) is None:
        raise UserError("no reason is given", "say why in a few words: it is kept on record")
    conn.execute(
        "insert into ops.erasure (request, persons_hash, persons, why, done_by, outcome)"
        " values (%s, %s, %s, %s, %s, %s) on conflict (request) do nothing",
        [name, wanted.digest, len(wanted.niks), why.strip(), who, outcome],
    )
    row = conn.execute("select persons_hash from ops.erasure where request = %s", [name]).fetchone()
    assert row is not None
    if row[0] != wanted.digest:
        raise UserError(f"request {name} was made for other persons", "give it another name")
    known = find(conn, name)
    assert known is not None
    if known.outcome == "refused":
        raise UserError(f"request {name} was refused", "make another one, with another name")
    if known.outcome == "waiting" and outcome == "running":
        conn.execute("update ops.erasure set outcome = 'running', done_by = %s where request = %s", [who, name])
    return known


def close(conn: psycopg.Connection, erasure_id: int, proof: dict[str, Any]) -> None:
    """Notes that an erasure is done, with its proof."""
    conn.execute(
        "update ops.erasure set outcome = 'done', finished_at = now(), proof = %s where erasure_id = %s",
        [Jsonb(proof), erasure_id],
    )


def approve_later(wanted: Wanted, *, why: str, who: str, request: str | None = None) -> Request:
    """Puts a request aside until a person approves it (DAG erase_persons). Nothing is erased."""
    with connect() as conn:
        known = open_request(conn, wanted, request=request, why=why, who=who, outcome="waiting")
        if known.outcome != "waiting":
            raise UserError(f"request {known.request} is {known.outcome}", "give it another name")
        save(known.request, Saved(wanted.niks, wanted.lines, wanted.values))
    return known


def resume(request: str) -> Wanted:
    """The persons of a request that waits or was broken off. Raises UserError when there is none."""
    saved = saved_of(request)
    if saved is None:
        with connect() as conn:
            known = find(conn, request)
        raise UserError(
            f"request {request} " + ("is not known" if known is None else f"is {known.outcome}, and its file is gone"),
            "give the persons again, on standard input or with --file",
        )
    return saved.wanted


def refuse(request: str, *, why: str, who: str) -> None:
    """Ends a request that waits: its file is removed, and that it was refused is on record. Done again it does nothing.

    Raises UserError for one that is not known, or is under way or done.
    """
    with connect() as conn:
        known = find(conn, request)
        if known is None:
            raise UserError(f"request {request} is not known", "`kkbc erase --for-approval` makes one")
        if known.outcome not in ("waiting", "refused"):
            raise UserError(f"request {request} is {known.outcome}", "only one that waits can be refused")
        saved = saved_of(request)
        if saved is not None:
            note_access("erase refused", done_by=who, why=why, subjects=saved.wanted.subjects)
        conn.execute(
            "update ops.erasure set outcome = 'refused', finished_at = coalesce(finished_at, now()) where request = %s",
            [request],
        )
    remove(request)
