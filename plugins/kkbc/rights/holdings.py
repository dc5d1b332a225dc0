"""What the warehouse holds of a person: rows in force, facts by token, publications, who looked, restrictions."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from kkbc.exchange.contracts import Contract, feeds, load_contract
from kkbc.rights.persons import Person
from kkbc.slices import AuditNote
from kkbc.slices.suppressing import erasure_of
from kkbc.warehouse import connect
from kkbc.warehouse.access_record import Entry, entries

Row = dict[str, Any]

# The day that a row of a fact counts on, as what, and in which marts.
COUNTED = {
    "fct_registration": (
        "registered_on",
        "pendaftaran",
        ("kpi_branch_daily", "kpi_channel_daily", "kpi_national_daily"),
    ),
    "fct_acquisition": ("activated_on", "akuisisi", ("kpi_branch_daily", "kpi_channel_daily", "kpi_national_daily")),
    "fct_contribution": ("paid_on", "iuran", ("kpi_branch_daily", "kpi_national_daily")),
}

_PLACE = ("_business_date", "_branch_id", "_line")

_SLICES = """
select feed, branch_id, business_date, revision, status, reason, sent_at, loaded_at, file_name, sha256, landed_uri,
    load_id, rows_quarantined, build_id, first_seen_at
from ops.slice where landed_uri = any(%s)
    or (feed, branch_id, business_date, revision) in (
        select * from unnest(%s::text[], %s::text[], %s::date[], %s::int[])
    )
"""

_CLOSED = """
select line, closed_as, closed_at from ops.quarantine
where (feed, branch_id, business_date, revision) = (%s, %s, %s, %s) and line = any(%s)
"""

# A publication shows what its build had, or that of the one that it restores; nothing before the first build with the
# person's rows, and nothing while a restriction stood.
_PUBLICATIONS = """
with recursive shown as (
    select p.publication_id, p.build_id, p.as_of, p.published_at, p.restores, p.publication_id as shows
    from ops.publication p
    where p.restores is null
    union all
    select p.publication_id, p.build_id, p.as_of, p.published_at, p.restores, s.shows
    from ops.publication p join shown s on p.restores = s.publication_id
)
select publication_id, as_of, published_at, restores from shown
where shows >= (
    select min(p.publication_id) from ops.publication p where p.restores is null and p.build_id >= %s
)
order by publication_id
"""


@dataclass(frozen=True)
class Holdings:
    """What the warehouse holds of a person.

    in_force: by feed the rows in force, each with its address, what is personal and what is not. facts: by table of
    bi_detail its rows. kept: rows in what takes publications back, by table. slices: the records of the slices of those
    rows. restrictions: with when, by whom and why they began and ended. on_record: when the NIK that is kept beside
    readings and restrictions was last needed. erasure: since when the person is kept out, who was erased.
    """

    in_force: dict[str, list[Row]]
    facts: dict[str, list[Row]]
    kept: dict[str, int]
    publications: list[Row]
    accesses: list[Entry]
    restrictions: list[Row]
    on_record: datetime | None
    erasure: Row | None

    @property
    def anything(self) -> bool:
        """Whether anything but the record of accesses is held."""
        if any(self.in_force.values()) or any(self.facts.values()):
            return True
        return bool(self.kept or self.restrictions or self.on_record)


def holdings(person: Person, note: AuditNote) -> Holdings:
    """Gathers it. Reading the vault is noted for each of its tables, by whom and why."""
    in_force = {feed: rows for feed in feeds() if (rows := _in_force(load_contract(feed), person, note))}
    with connect("analyst") as conn:
        facts = {name: _facts(conn, "bi_detail", name, person) for name in _tables(conn, "bi_detail")}
    with connect("publisher") as conn:
        kept = {name: len(_facts(conn, "bi_kept", name, person)) for name in _tables(conn, "bi_kept")}
    slices = [
        (feed, row["_branch_id"], row["_business_date"], row["_revision"])
        for feed, rows in in_force.items()
        for row in rows
    ]
    with connect("auditor") as conn:
        publications = _publications(conn, slices)
    with connect("loader") as conn, conn.cursor(row_factory=dict_row) as cursor:
        restrictions = cursor.execute(
            "select restricted_at, restricted_by, why, released_at, released_by, release_why from vault.restricted"
            " where participant_token = %s order by restriction_id",
            [person.token],
        ).fetchall()
        on_record = cursor.execute(
            "select last_at from vault.person where participant_token = %s", [person.token]
        ).fetchone()
        erasure = erasure_of(conn, person.nik)
    return Holdings(
        in_force,
        {name: rows for name, rows in facts.items() if rows},
        {name: count for name, count in kept.items() if count},
        publications,
        entries(person=(person.subject, person.token)),
        restrictions,
        on_record["last_at"] if on_record else None,
        erasure,
    )


def records(addresses: list[tuple[Any, ...]], uris: list[str]) -> list[Row]:
    """The records of slices, by address (feed, branch, day, revision) or landing URI."""
    columns = [list(column) for column in zip(*addresses, strict=True)] or [[], [], [], []]
    with connect("auditor") as conn, conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_SLICES, [uris, *columns]).fetchall()


def quarantined_in_force() -> dict[str, int]:
    """Rows quarantined of each revision in force, by its landing URI."""
    with connect("auditor") as conn:
        return dict(
            conn.execute(
                "select landed_uri, rows_quarantined from ops.slice where status = 'loaded' and landed_uri is not null"
            ).fetchall()
        )


def closed(address: tuple[Any, ...], lines: list[int]) -> dict[int, Row]:
    """What became of quarantined lines of a revision."""
    with connect("auditor") as conn, conn.cursor(row_factory=dict_row) as cursor:
        return {row["line"]: row for row in cursor.execute(_CLOSED, [*address, lines]).fetchall()}


def _in_force(contract: Contract, person: Person, note: AuditNote) -> list[Row]:
    if not contract.has_nik:
        return []
    table = sql.Identifier(contract.table)
    with connect("pii") as conn, conn.cursor(row_factory=dict_row) as cursor:
        query = sql.SQL("select * from vault.{}(%s, token => %s)").format(sql.Identifier(f"read_{contract.table}"))
        personal = cursor.execute(query, [f"{note.done_by}: {note.why.strip()}", person.token]).fetchall()
    with connect("auditor") as conn, conn.cursor(row_factory=dict_row) as cursor:
        query = sql.SQL("select * from raw.{} where participant_token = %s").format(table)
        plain = cursor.execute(query, [person.token]).fetchall()
    # Either may be without the other: what is in the vault has a period of its own.
    found: dict[tuple[Any, ...], Row] = {}
    for row in (*plain, *personal):
        found.setdefault(tuple(row[name] for name in _PLACE), {}).update(row)
    return [found[place] for place in sorted(found)]


def _tables(conn: psycopg.Connection, schema: str) -> list[str]:
    rows = conn.execute(
        "select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid"
        " where c.relnamespace = to_regnamespace(%s) and c.relkind = 'r' and a.attname = 'participant_token'"
        " and not a.attisdropped order by 1",
        [schema],
    ).fetchall()
    return [name for (name,) in rows]


def _facts(conn: psycopg.Connection, schema: str, table: str, person: Person) -> list[Row]:
    with conn.cursor(row_factory=dict_row) as cursor:
        query = sql.SQL("select * from {} where participant_token = %s").format(sql.Identifier(schema, table))
        return cursor.execute(query, [person.token]).fetchall()


def _publications(conn: psycopg.Connection, slices: list[tuple[Any, ...]]) -> list[Row]:
    if not slices:
        return []
    columns = [list(column) for column in zip(*slices, strict=True)]
    first = conn.execute(
        "select min(build_id) from ops.slice where (feed, branch_id, business_date) in"
        " (select * from unnest(%s::text[], %s::text[], %s::date[]))",
        columns[:3],
    ).fetchone()
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_PUBLICATIONS, [first[0] if first else None]).fetchall()
