"""Expiring: what is held of persons for so long that its purpose has passed goes from the vault, and from landing.

Facts stay, by their token. Whoever is heard of again is the same participant as before, as long as the key of the
tokens is the same.
"""

from datetime import date

import psycopg
from psycopg import sql

from kkbc.exchange.contracts import feeds, load_contract

# Published, and nothing that is open would need the file again: rows to retry, or a verdict of the gate.
_LANDED = """
select s.landed_uri from ops.slice s join ops.build b using (build_id)
where s.status = 'loaded' and s.landed_uri is not null and b.outcome = 'published'
    and s.loaded_at < now() - make_interval(days => %(days)s)
    and not exists (select from ops.quarantine q where (q.feed, q.branch_id, q.business_date, q.revision)
        = (s.feed, s.branch_id, s.business_date, s.revision) and q.closed_at is null)
    and not exists (select from ops.slice h where (h.feed, h.branch_id, h.business_date)
        = (s.feed, s.branch_id, s.business_date) and h.status = 'held')
order by s.landed_uri
"""


def expire_persons(conn: psycopg.Connection, before: date) -> tuple[int, int]:
    """Deletes from the vault all rows of participants who were last heard of before a business date.

    Texts of feeds without participants, such as activities, go by the business date of their slice. Part of the
    caller's transaction, as role loader. Returns how many participants, and how many rows. Reads the partitions of
    months up to `before`, and of later ones only whether they know a participant.
    """
    contracts = [load_contract(feed) for feed in feeds()]
    holders = [contract for contract in contracts if contract.has_persons]
    by_person = [sql.Identifier("vault", contract.table) for contract in holders if contract.has_nik]
    by_day = [sql.Identifier("vault", contract.table) for contract in holders if not contract.has_nik]
    conn.execute("create temporary table expired (participant_token text primary key) on commit drop")
    if by_person:
        old, heard_of = (
            sql.SQL(" union ").join(
                sql.SQL("select participant_token from {} where _business_date {} %(before)s").format(
                    table, sql.SQL(compared)
                )
                for table in by_person
            )
            for compared in ("<", ">=")
        )
        found = sql.SQL("insert into pg_temp.expired select * from (({}) except ({})) e where {}").format(
            old, heard_of, sql.SQL("participant_token is not null")
        )
        conn.execute(found, {"before": before})
        conn.execute("analyze pg_temp.expired")
    persons = conn.execute("select count(*) from pg_temp.expired").fetchone()
    assert persons is not None
    rows = 0
    for table in by_person:
        rows += conn.execute(
            sql.SQL(
                "delete from {} v using pg_temp.expired e"
                " where v.participant_token = e.participant_token and v._business_date < %(before)s"
            ).format(table),
            {"before": before},
        ).rowcount
    for table in by_day:
        rows += conn.execute(
            sql.SQL("delete from {} where _business_date < %(before)s").format(table), {"before": before}
        ).rowcount
    return int(persons[0]), rows


def forget_records(conn: psycopg.Connection, before: date) -> int:
    """Deletes the NIKs that are kept beside what is on record of persons, of those of whom nothing was noted since.

    Who is restricted stays. Part of the caller's transaction, as role loader.
    """
    return conn.execute(
        "delete from vault.person p where p.last_at < %(before)s and not exists (select from vault.restricted r"
        " where r.participant_token = p.participant_token and r.released_at is null)",
        {"before": before},
    ).rowcount


def expired_landing(conn: psycopg.Connection, days: int) -> list[str]:
    """Where the bytes lie of published slices in force that were loaded so many days ago and need them no more."""
    return [uri for (uri,) in conn.execute(_LANDED, {"days": days}).fetchall()]
