"""Replacing tokens by those of `vault.new_token`, wherever they are stored, in one transaction.

Rows are updated in place, so that readers see all of the old or all of the new and wait for nothing. Hidden and
published tables stay equal, and what is on record of publications stays true of them.
"""

from collections.abc import Callable

import polars as pl
import psycopg
from psycopg import sql

from kkbc.core import tokens
from kkbc.slices.new_tokens import columns, forget

_REPLACE = "update {relation} t set {column} = m.new_token from vault.new_token m where t.{column} = m.old_token"

_REPLACE_NOTED = """
update bi_kept.changed_key k set key = jsonb_set(k.key, '{participant_token}', to_jsonb(m.new_token))
from vault.new_token m where k.key ->> 'participant_token' = m.old_token
"""

# As much as the rows that are there come to now; what was recorded otherwise stays otherwise.
_RECORD = """
with change as (
    select a.publication_id, a.table_schema, a.table_name, a.digest - b.digest as change
    from ops.publication_digests() a join pg_temp.digest_before b using (publication_id, table_schema, table_name)
)
update ops.publication_table p set digest = p.digest + c.change
from (
    table change
    union
    -- One that is no longer kept can be restored where a rollback that is kept restored it.
    select r.restores, c.table_schema, c.table_name, c.change
    from change c join ops.publication r using (publication_id)
    where r.restores is not null and not exists (select from change o where o.publication_id = r.restores)
) c
where (p.publication_id, p.table_schema, p.table_name) = (c.publication_id, c.table_schema, c.table_name)
"""


def replace_all(conn: psycopg.Connection, done: Callable[[int, int], None]) -> dict[str, int]:
    """Replaces every token that has a new one; returns rows by table. `done` is told the tables done and in all.

    The caller keeps loads, builds and publications away, and commits.
    """
    conn.execute("analyze vault.new_token")
    conn.execute("insert into vault.tokens_replaced_in values (pg_current_xact_id())")
    conn.execute("create temporary table digest_before on commit drop as select * from ops.publication_digests()")
    places = columns(conn)
    rows: dict[str, int] = {}
    for number, (relation, column) in enumerate(places):
        done(number, len(places))
        name = relation.as_string()
        replaced = conn.execute(sql.SQL(_REPLACE).format(relation=relation, column=column)).rowcount
        rows[name] = rows.get(name, 0) + replaced
    conn.execute(_REPLACE_NOTED)
    conn.execute(_RECORD)
    # Foreign keys, which were not looked at while some tables were ahead of others.
    conn.execute("set constraints all immediate")
    conn.execute("delete from vault.tokens_replaced_in")
    # Which token was whose is nobody's business from here on.
    forget(conn)
    done(len(places), len(places))
    return rows


def suppressed(conn: psycopg.Connection) -> int:
    """How many persons the suppression list holds."""
    if conn.execute("select to_regclass('vault.suppressed')").fetchone() == (None,):
        return 0
    ((count,),) = conn.execute("select count(*) from vault.suppressed").fetchall()
    return int(count)


def rehash_suppressed(conn: psycopg.Connection, key: bytes) -> None:
    """Takes every entry of the suppression list one key further, for the NIKs to begin anew with are gone."""
    old = [row[0] for row in conn.execute("select token from vault.suppressed").fetchall()]
    conn.execute(
        "update vault.suppressed s set token = m.new from unnest(%s::text[], %s::text[]) m (old, new)"
        " where s.token = m.old",
        [old, tokens.keyed_hashes(pl.Series(old, dtype=pl.String), key).to_list()],
    )
