"""Settling: the quarantined rows of a slice get new verdicts, each change with an event that says who and why.

Verdicts lie in a temporary table meanwhile. Everything here is part of the caller's transaction, under the lock of the
slice; `Slice.key()` and `AuditNote.parameters()` are the parameters.
"""

from collections.abc import Iterable
from typing import Literal

import polars as pl
import psycopg

from kkbc.exchange.slices import Slice
from kkbc.slices.note import AuditNote
from kkbc.slices.record import ANY_REVISION, THIS_SLICE
from kkbc.slices.rows import copy_frame, verdict_columns

_VERDICTS = """
create temporary table verdict (line bigint primary key, errors text[] not null, warnings text[] not null,
    fields text[] not null)
"""

_PASS_ALL_OTHERS = f"""
insert into pg_temp.verdict (line, errors, warnings, fields)
select line, '{{}}', '{{}}', '{{}}' from ops.quarantine where {THIS_SLICE}
on conflict (line) do nothing
"""  # noqa: S608 (a constant)

# What stood and what was found now, line by line. An accepted row has no errors, though the quarantine still knows
# those that it once had. A row that stays out is of no load.
_COMPARE = f"""
create temporary table moved as
select *, case when event <> 'judged_anew' then %(load_id)s::bigint end as load_id
from (
    select
        line,
        case
            when v.errors = '{{}}' and q.closed_as is distinct from 'accepted' then 'accepted'
            when v.errors <> '{{}}' and (q.errors is null or q.closed_as = 'accepted') then %(refused_as)s::text
            when (q.errors, q.warnings, q.fields) is distinct from (v.errors, v.warnings, v.fields)
                and v.errors <> '{{}}' then 'judged_anew'
        end as event,
        case when q.closed_as is distinct from 'accepted' then coalesce(q.errors, '{{}}') else '{{}}' end
            as errors_before,
        case when q.closed_as is distinct from 'accepted' then coalesce(q.fields, '{{}}') else '{{}}' end
            as fields_before,
        v.errors, v.warnings, v.fields
    from pg_temp.verdict as v
    left join (select * from ops.quarantine where {THIS_SLICE}) as q using (line)
) as compared
where event is not null
"""  # noqa: S608 (constants)

_OPEN = """
insert into ops.quarantine as q (feed, branch_id, business_date, revision, line, errors, warnings, fields, load_id)
select %(feed)s, %(branch_id)s, %(business_date)s, %(revision)s, line, errors, warnings, fields, load_id
from pg_temp.moved where event = %(refused_as)s
on conflict (feed, branch_id, business_date, revision, line) do update
set errors = excluded.errors, warnings = excluded.warnings, fields = excluded.fields,
    closed_at = null, closed_as = null, closed_why = null
"""

_CHANGE = f"""
update ops.quarantine q set errors = m.errors, warnings = m.warnings, fields = m.fields
from pg_temp.moved m where {THIS_SLICE} and q.line = m.line and m.event = 'judged_anew'
"""  # noqa: S608 (a constant)

_CLOSE = f"""
update ops.quarantine q set closed_at = now(), closed_as = 'accepted', closed_why = %(why)s
from pg_temp.moved m where {THIS_SLICE} and q.line = m.line and m.event = 'accepted'
"""  # noqa: S608 (a constant)

# Nobody retries or resolves a row of a person who was erased; it goes on being counted.
_CLOSE_ERASED = f"""
update ops.quarantine set closed_at = now(), closed_as = 'erased', closed_why = %(why)s
where {THIS_SLICE} and 'ERASED' = any(errors) and closed_at is null
"""  # noqa: S608 (a constant)

_NOTE = """
insert into ops.quarantine_event (feed, branch_id, business_date, revision, line, event,
    errors_before, errors_after, fields_before, fields_after, why, done_by, load_id, run_id)
select %(feed)s, %(branch_id)s, %(business_date)s, %(revision)s, line, event,
    errors_before, errors, fields_before, fields, %(why)s, %(done_by)s, load_id, %(run_id)s
from pg_temp.moved order by line
"""


def note_verdicts(conn: psycopg.Connection, verdicts: Iterable[pl.DataFrame]) -> None:
    """Puts verdicts into the temporary table: `_line`, `_errors` (empty for a row that passes), `_warnings`, `_fields`.

    `settle` is what takes the table away again.
    """
    conn.execute(_VERDICTS)
    for frame in verdicts:
        add_verdicts(conn, frame)
    conn.execute("analyze pg_temp.verdict")


def add_verdicts(conn: psycopg.Connection, verdicts: pl.DataFrame) -> None:
    """Adds verdicts over other lines of the slice."""
    copy_frame(conn, ("pg_temp", "verdict"), verdicts.select(verdict_columns()))


def pass_all_others(conn: psycopg.Connection, slice_: Slice) -> None:
    """Adds that all other rows which the quarantine knows of the slice pass, for a slice that was judged as a whole."""
    conn.execute(_PASS_ALL_OTHERS, slice_.key())


def settle(
    conn: psycopg.Connection,
    slice_: Slice,
    note: AuditNote,
    load_id: int | None,
    *,
    refused_as: Literal["found", "displaced"],
) -> dict[str, int]:
    """Brings the quarantine of a slice to the verdicts noted before; returns how many rows had which event.

    accepted: a row passes now, and was loaded by `load_id`. judged_anew: it stays out, with other codes. `refused_as`:
    it was accepted, and is out by `load_id`. What did not change has no event.
    """
    values = {**slice_.key(), **note.parameters(), "load_id": load_id, "refused_as": refused_as}
    for statement in (_COMPARE, _OPEN, _CHANGE, _CLOSE, _CLOSE_ERASED, _NOTE):
        conn.execute(statement, values)
    events: dict[str, int] = dict(conn.execute("select event, count(*) from pg_temp.moved group by event").fetchall())
    conn.execute("drop table pg_temp.verdict, pg_temp.moved")
    return events


def supersede_quarantined(conn: psycopg.Connection, slice_: Slice, *, below: int) -> None:
    """Closes what is open of the revisions below a number: a higher one is in force."""
    conn.execute(
        "update ops.quarantine"  # noqa: S608 (a constant)
        " set closed_at = now(), closed_as = 'superseded', closed_why = 'a higher revision is in force'"
        f" where {ANY_REVISION} and revision < %(below)s and closed_at is null",
        {**slice_.key(), "below": below},
    )


def reopen_superseded(conn: psycopg.Connection, slice_: Slice) -> None:
    """Opens what was closed because a higher revision was in force: this one is again."""
    conn.execute(
        "update ops.quarantine set closed_at = null, closed_as = null, closed_why = null"  # noqa: S608 (a constant)
        f" where {THIS_SLICE} and closed_as = 'superseded'",
        slice_.key(),
    )


# --- erasures ---------------------------------------------------------------------------------------------------------
# A row that is quarantined as it is stays with its codes, for they were counted.
_ERASE_OPEN = f"""
with closed as (
    update ops.quarantine set closed_at = now(), closed_as = 'erased', closed_why = %(why)s
    where {THIS_SLICE} and line = any(%(lines)s) and coalesce(closed_as, 'resolved') = 'resolved'
    returning *
)
insert into ops.quarantine_event (feed, branch_id, business_date, revision, line, event,
    errors_before, errors_after, fields_before, fields_after, why, done_by)
select feed, branch_id, business_date, revision, line, 'erased', errors, errors, fields, fields, %(why)s, %(done_by)s
from closed order by line
"""  # noqa: S608 (a constant)

_QUARANTINE_ERASED = f"""
with before as (
    select line, errors, fields, closed_as from ops.quarantine where {THIS_SLICE} and line = any(%(lines)s)
), erased as (
    select n.line, b.errors, b.fields, b.line is null or b.closed_as is not distinct from 'accepted' as was_accepted
    from unnest(%(lines)s::bigint[]) as n (line) left join before as b using (line)
    where b.closed_as is distinct from 'erased'
), written as (
    insert into ops.quarantine as q (feed, branch_id, business_date, revision, line, errors, load_id,
        closed_at, closed_as, closed_why)
    select %(feed)s, %(branch_id)s, %(business_date)s, %(revision)s, line, '{{ERASED}}', %(load_id)s,
        now(), 'erased', %(why)s
    from erased
    on conflict (feed, branch_id, business_date, revision, line) do update
    set errors = excluded.errors, warnings = '{{}}', fields = '{{}}', closed_at = excluded.closed_at,
        closed_as = excluded.closed_as, closed_why = excluded.closed_why
), noted as (
    insert into ops.quarantine_event (feed, branch_id, business_date, revision, line, event,
        errors_before, errors_after, fields_before, fields_after, why, done_by)
    select %(feed)s, %(branch_id)s, %(business_date)s, %(revision)s, line, 'erased',
        case when was_accepted then '{{}}' else errors end, '{{ERASED}}',
        case when was_accepted then '{{}}' else fields end, '{{}}', %(why)s, %(done_by)s
    from erased order by line
)
select count(*) filter (where was_accepted) from erased
"""  # noqa: S608 (a constant)


def close_erased(conn: psycopg.Connection, slice_: Slice, lines: list[int], note: AuditNote) -> int:
    """Closes quarantined rows of erased persons in a slice that is in force; returns how many. Their codes stay."""
    return conn.execute(_ERASE_OPEN, {**slice_.key(), **note.parameters(), "lines": lines}).rowcount


def quarantine_erased(conn: psycopg.Connection, slice_: Slice, lines: list[int], note: AuditNote, load_id: int) -> int:
    """Quarantines rows of erased persons in a slice of which no row is loaded; returns how many were accepted before.

    Done again it changes nothing.
    """
    values = {**slice_.key(), **note.parameters(), "lines": lines, "load_id": load_id}
    row = conn.execute(_QUARANTINE_ERASED, values).fetchone()
    assert row is not None
    return int(row[0])
