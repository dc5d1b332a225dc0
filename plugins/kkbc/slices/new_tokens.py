"""The token that takes the place of each: made from the NIKs in the vault, in `vault.new_token`."""

from collections.abc import Callable, Iterator

import polars as pl
import psycopg
from psycopg import sql

from kkbc.core import tokens
from kkbc.core.tokens import CUT, Key
from kkbc.exchange.contracts import Contract, feeds, load_contract

BATCH = 20_000
Column = tuple[sql.Composable, sql.Identifier]

# Of several rows of a person any has the NIK. Tokens that were cut are of no key.
_LACKING = """
select v.participant_token, min(v.{nik}) from {vault} v
where not starts_with(v.participant_token, {cut})
    and not exists (select from vault.new_token m where m.old_token = v.participant_token)
group by v.participant_token
"""
_ADD = "insert into vault.new_token select * from unnest(%s::text[], %s::text[]) on conflict do nothing"


def columns(conn: psycopg.Connection) -> list[Column]:
    """Where tokens are stored: tables, the partitioned ones as one, each with a column."""
    rows = conn.execute("select relation::text, name from ops.token_columns()").fetchall()
    return [(sql.SQL(relation), sql.Identifier(name)) for relation, name in rows]


def persons(conn: psycopg.Connection) -> int:
    """How many tokens have a NIK in the vault."""
    tables = _tokens_of([table for table, _ in niks_in_vault()])
    query = sql.SQL("select count(*) from ({}) t where not starts_with(participant_token, {})")
    ((count,),) = conn.execute(query.format(tables, sql.Literal(CUT))).fetchall()
    return int(count)


def unknown(conn: psycopg.Connection) -> int:
    """How many tokens rows of raw have whose person the vault no longer has, so that there is no NIK to make one from.

    Restrictions that stand count likewise: without its token one would be lost. Those that only earlier publications
    have, and marts until the next build, are not counted: nobody comes back there.
    """
    raw = _tokens_of([sql.Identifier("raw", contract.table) for contract in _contracts()])
    vault = _tokens_of([table for table, _ in niks_in_vault()])
    query = sql.SQL(
        "select count(*) from (({} union select participant_token from vault.restricted where released_at is null)"
        " except ({})) t where not starts_with(participant_token, {})"
    )
    ((count,),) = conn.execute(query.format(raw, vault, sql.Literal(CUT))).fetchall()
    return int(count)


def make(
    reading: psycopg.Connection, writing: psycopg.Connection, key: Key, done: Callable[[int], None] = lambda count: None
) -> int:
    """Makes the new token of each person of the vault that has none yet; returns how many. `done` is told on the way.

    Where reading and writing are two connections, every batch is committed, so that one who goes on has it already;
    over one connection all is part of its transaction.
    """
    count = 0
    for vault, nik in niks_in_vault():
        query = sql.SQL(_LACKING).format(vault=vault, nik=nik, cut=sql.Literal(CUT))
        with reading.cursor(name="lacking") as cursor:
            cursor.itersize = BATCH
            cursor.execute(query)
            while rows := cursor.fetchmany(BATCH):
                new = tokens.tokens(pl.Series([row[1] for row in rows], dtype=pl.String), key)
                writing.execute(_ADD, [[row[0] for row in rows], new.to_list()])
                if writing is not reading:
                    writing.commit()
                count += len(rows)
                done(count)
        if writing is not reading:
            reading.commit()
    return count


def cut_unknown(conn: psycopg.Connection) -> int:
    """Gives each stored token that has no new one yet, wherever it is, one that no key gives; returns how many."""
    conn.execute("create temporary table unknown (old_token text primary key) on commit drop")
    lacking = (
        "select distinct t.token from ({}) t (token) where t.token is not null and not starts_with(t.token, {})"
        " and not exists (select from vault.new_token m where m.old_token = t.token)"
    )
    noted = sql.SQL("select key ->> 'participant_token' from bi_kept.changed_key")
    stored = [sql.SQL("select {} from {}").format(column, relation) for relation, column in columns(conn)]
    for query in (*stored, noted):
        statement = sql.SQL("insert into pg_temp.unknown " + lacking + " on conflict do nothing")
        conn.execute(statement.format(query, sql.Literal(CUT)))
    found = [row[0] for row in conn.execute("select old_token from pg_temp.unknown").fetchall()]
    for start in range(0, len(found), BATCH):
        old = found[start : start + BATCH]
        conn.execute(_ADD, [old, [tokens.cut_token() for _ in old]])
    return len(found)


def forget(conn: psycopg.Connection) -> None:
    """Forgets all new tokens."""
    conn.execute("truncate vault.new_token")


def niks_in_vault() -> Iterator[tuple[sql.Identifier, sql.Identifier]]:
    """The tables of vault with NIKs and tokens, of feeds and of records, each with the name of the column of NIKs."""
    for contract in _contracts():
        assert contract.nik is not None
        yield sql.Identifier("vault", contract.table), sql.Identifier(contract.nik)
    yield sql.Identifier("vault", "person"), sql.Identifier("nik")


def _tokens_of(tables: list[sql.Identifier]) -> sql.Composed:
    return sql.SQL(" union ").join(sql.SQL("select participant_token from {}").format(table) for table in tables)


def _contracts() -> Iterator[Contract]:
    """Those of feeds whose rows are of participants."""
    return (contract for contract in map(load_contract, feeds()) if contract.nik is not None)
