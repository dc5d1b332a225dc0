"""What was published: the list, one publication, and the totals that it changed. Read by role auditor."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from kkbc.core.errors import UserError
from kkbc.exchange.registry import load_registry
from kkbc.publishing.rollback import history_of
from kkbc.warehouse import connect


@dataclass(frozen=True)
class Listed:
    """A publication. restorable: whether `kkbc rollback --to` it would work; live: whether it is what readers see.

    deleted, inserted: rows in all tables. restores, why, done_by: of a rollback only.
    """

    publication_id: int
    as_of: date
    published_at: datetime
    build_id: int
    deleted: int
    inserted: int
    live: bool
    restorable: bool
    restores: int | None
    why: str | None
    done_by: str | None


def publications(*, last: int | None = None) -> list[Listed]:
    """Publications, the latest first: the last so many, or all."""
    with connect("auditor") as conn:
        rows = _all(
            conn,
            "select p.publication_id, p.as_of, p.published_at, p.build_id, p.restores, p.why, p.done_by, p.kept,"
            " sum((t.value ->> 'deleted')::bigint)::bigint as deleted,"
            " sum((t.value ->> 'inserted')::bigint)::bigint as inserted"
            " from ops.publication p left join jsonb_each(p.tables) t on true"
            " group by p.publication_id order by p.publication_id desc",
        )
    way = history_of([(row["publication_id"], row["kept"], row["restores"]) for row in rows])
    found = [
        Listed(
            row["publication_id"],
            row["as_of"],
            row["published_at"],
            row["build_id"],
            row["deleted"] or 0,
            row["inserted"] or 0,
            number == 0,
            way.can_restore(row["publication_id"]),
            row["restores"],
            row["why"],
            row["done_by"],
        )
        for number, row in enumerate(rows)
    ]
    return found[:last]


def publication(number: int | None = None) -> dict[str, Any]:
    """One publication, the live one when no number is given: its tables, slices of the live one, and its audit.

    Raises UserError when there is none of that number.
    """
    listed = _listed(number)
    with connect("auditor") as conn:
        tables = _all(
            conn,
            "select table_schema || '.' || table_name as table, rows, deleted, inserted, changed_in"
            " from ops.publication_table where publication_id = %(number)s order by 1",
            number=listed.publication_id,
        )
        audit = _all(
            conn,
            "select checkpoint, suite, severity, count(*) as expectations,"
            " count(*) filter (where not success) as not_met from ops.audit_result"
            " where build_id = %(build)s group by 1, 2, 3 order by 1, 2, 3",
            build=listed.build_id,
        )
    return {"publication": listed, "tables": tables, "audit": audit}


def differences(number: int | None = None, *, branch: str | None = None) -> tuple[Listed, list[dict[str, Any]]]:
    """The totals per branch and month that a publication changed, the live one when no number is given.

    Raises UserError when there is none of that number, or no such branch.
    """
    if branch is not None:
        load_registry().get(branch)
    listed = _listed(number)
    with connect("auditor") as conn:
        rows = _all(
            conn,
            "select branch_id, month, metric, before, after from ops.publication_diff"
            " where publication_id = %(number)s and (%(branch)s::text is null or branch_id = %(branch)s)"
            " order by branch_id, month, metric",
            number=listed.publication_id,
            branch=branch,
        )
    return listed, rows


def _listed(number: int | None) -> Listed:
    found = publications()
    if not found:
        raise UserError("nothing is published yet", "run a night first: `kkbc run` or `make run`")
    if number is None:
        return found[0]
    for listed in found:
        if listed.publication_id == number:
            return listed
    raise UserError(f"publication {number} is not known", "`kkbc publication list` names those that are")


def _all(conn: psycopg.Connection, query: LiteralString, **parameters: Any) -> list[dict[str, Any]]:
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, parameters).fetchall()
