"""Restriction of processing (UU 27/2022 article 11): a person is stored and not counted, until released.

The state is kept by token, so that a change of the key of the tokens rewrites it as it does everything else. Builds
read who is restricted (`ops.restricted_participant`), by token and nothing else.
"""

from typing import Any, LiteralString

import polars as pl
from psycopg.rows import dict_row

from kkbc.core.errors import UserError
from kkbc.rights.persons import Person
from kkbc.rights.wanted import Wanted, tokens_of, unknown_lines
from kkbc.slices import AuditNote, load_suppression
from kkbc.warehouse import connect
from kkbc.warehouse.access_record import note_access

_RESTRICT = """
insert into vault.restricted (participant_token, restricted_by, why)
select token, %(done_by)s, %(why)s from unnest(%(tokens)s::text[]) as token
on conflict (participant_token) where released_at is null do nothing
"""

# The NIK beside it: a person who is restricted need not have a row in force, and a change of the key needs one.
_ON_RECORD = """
insert into vault.person (nik, participant_token)
select * from unnest(%(niks)s::text[], %(tokens)s::text[]) on conflict do nothing
"""

_SEEN_TO = "update vault.person set last_at = now() where participant_token = any(%(tokens)s)"

_RELEASE = """
update vault.restricted set released_at = now(), released_by = %(done_by)s, release_why = %(why)s
where released_at is null and participant_token = any(%(tokens)s)
"""

_ALL = """
select participant_token, restricted_at, restricted_by, why, released_at, released_by, release_why
from vault.restricted order by restriction_id
"""


def restrict(persons: list[Person], note: AuditNote) -> int:
    """Holds the persons out of the marts from the next build on; returns how many were not held out already.

    Raises UserError when one of them was erased: a restriction would store what stands for the person again.
    """
    with connect("loader") as conn:
        listed = load_suppression(conn)
    gone = listed.suppressed(pl.Series([person.nik for person in persons], dtype=pl.String))
    if erased := [place for place, is_gone in enumerate(gone, 1) if is_gone]:
        places = ", ".join(map(str, erased))
        raise UserError(
            f"of the persons named, number {places} was erased, and is kept out of everything",
            "leave out who was erased; nobody is restricted yet",
        )
    return _change("restrict", (_ON_RECORD, _SEEN_TO, _RESTRICT), persons, note)


def release(persons: list[Person], note: AuditNote) -> int:
    """Lets the next build count the persons again; returns how many were held out."""
    return _change("release of a restriction", (_SEEN_TO, _RELEASE), persons, note)


def unknown(wanted: Wanted) -> list[int]:
    """The lines of persons of whom no row is loaded; a restriction of them is for what may come."""
    with connect("loader") as conn:
        return unknown_lines(conn, wanted)


def restrictions() -> list[dict[str, Any]]:
    """Who is or was held out, by token, in the order of time, as JSON values."""
    with connect("loader") as conn, conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_ALL).fetchall()
    moments = ("restricted_at", "released_at")
    return [{name: v.isoformat() if name in moments and v else v for name, v in row.items()} for row in rows]


def _change(action: str, statements: tuple[LiteralString, ...], persons: list[Person], note: AuditNote) -> int:
    """Carries out the statements; returns how many rows the last one changed."""
    subjects = sorted(person.subject for person in persons)
    note_access(action, done_by=note.done_by, why=note.why.strip(), subjects=subjects)
    niks = [person.nik for person in persons]
    with connect("loader") as conn:
        # No change of the key comes between the tokens and the rows that get them.
        conn.execute("lock table vault.restricted in row exclusive mode")
        values = {**note.parameters(), "niks": niks, "tokens": tokens_of(conn, niks)}
        return [conn.execute(statement, values).rowcount for statement in statements][-1]
