"""Resolve: a person decides that quarantined rows need no more work. They are not loaded, and go on being counted."""

import psycopg

from kkbc.slices.note import AuditNote
from kkbc.slices.quarantine.selection import CHOSEN, Selection

_RESOLVE = f"""
with chosen as (
    select q.feed, q.branch_id, q.business_date, q.revision, q.line
    from ops.quarantine q where q.closed_at is null and {CHOSEN}
        and q.first_seen_at <= now() - make_interval(days => %(days)s)
    order by q.feed, q.branch_id, q.business_date, q.revision, q.line
    for update
), closed as (
    update ops.quarantine q set closed_at = now(), closed_as = 'resolved', closed_why = %(why)s
    from chosen where (q.feed, q.branch_id, q.business_date, q.revision, q.line)
        = (chosen.feed, chosen.branch_id, chosen.business_date, chosen.revision, chosen.line)
    returning q.feed, q.branch_id, q.business_date, q.revision, q.line, q.errors, q.fields
)
insert into ops.quarantine_event (feed, branch_id, business_date, revision, line, event,
    errors_before, errors_after, fields_before, fields_after, why, done_by)
select feed, branch_id, business_date, revision, line, 'resolved', errors, errors, fields, fields, %(why)s, %(done_by)s
from closed order by feed, branch_id, business_date, revision, line
"""  # noqa: S608 (a constant)


def resolve(
    conn: psycopg.Connection, selection: Selection, note: AuditNote, *, days: int = 0, dry_run: bool = False
) -> int:
    """Closes the chosen open rows as resolved, all at once; returns their number. `conn` acts as role loader.

    days: only those that have been open for so long. With `dry_run` nothing is changed. A retry that is judging the
    same rows waits, and leaves them alone then.
    """
    values = {**selection.parameters(), **note.parameters(), "days": days}
    with conn.transaction():
        resolved = conn.execute(_RESOLVE, values).rowcount
        if dry_run:
            raise psycopg.Rollback
    return resolved
