"""Erasing: the rows of persons leave vault, and what stays of them in raw is cut from the person.

Raw keeps the rows, with a token that no key gives: what was counted of them stays counted. Rows that are in landing
alone, of slices that are not in force, become quarantined ones, as they would when such a slice is judged again.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl
import psycopg
from psycopg import sql

from kkbc.core.settings import get_settings
from kkbc.core.tokens import cut_token
from kkbc.exchange.contracts import feeds, load_contract
from kkbc.exchange.slices import ERASED, Slice
from kkbc.intake.landing import Landing
from kkbc.slices.note import AuditNote
from kkbc.slices.record import SliceRecord, move_to_quarantine
from kkbc.slices.rows import next_load_id
from kkbc.slices.settling import close_erased, quarantine_erased

ERASED_TOKENS = sql.Identifier("pg_temp", "erased")
"""The temporary table of tokens and of what takes their place, to the end of a transaction."""

TABLES_OF_PERSONS = ("seen", "restricted")
"""Tables of vault that hold tokens, but for those of feeds."""


@dataclass(frozen=True)
class Known:
    """What vault holds of some persons: rows by table, and the distinct values that are theirs by column."""

    rows: dict[str, int]
    values: dict[str, list[str]]


def note_tokens(conn: psycopg.Connection, tokens: Sequence[str]) -> None:
    """Makes the temporary table of the participant tokens to be cut, each with a random one for its place.

    The new ones begin with 00 and are of 120 random bits: no key gives them, and none equals another.
    """
    conn.execute("create temporary table erased (token text primary key, cut text not null unique) on commit drop")
    conn.execute(
        "insert into pg_temp.erased select token, cut from unnest(%s::text[], %s::text[]) as made (token, cut)",
        [list(tokens), [cut_token() for _ in tokens]],
    )


def known(conn: psycopg.Connection, tokens: Sequence[str]) -> Known:
    """What vault holds of the persons with these participant tokens. `conn` acts as the owner."""
    rows: dict[str, int] = {}
    values: dict[str, set[str]] = {}
    for contract in map(load_contract, feeds()):
        if not contract.has_nik:
            continue
        table = sql.Identifier("vault", contract.table)
        personal = [column.name for column in contract.columns if column.personal]
        found = conn.execute(
            sql.SQL("select {} from {} where participant_token = any(%s)").format(
                sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in personal), table
            ),
            [list(tokens)],
        ).fetchall()
        rows[f"vault.{contract.table}"] = len(found)
        for row in found:
            for name, value in zip(personal, row, strict=True):
                if value is not None:
                    values.setdefault(name, set()).add(value)
    return Known(rows, {name: sorted(of) for name, of in values.items()})


def counts(conn: psycopg.Connection, tokens: Sequence[str]) -> dict[str, int]:
    """How many rows of raw and vault are of the persons with these tokens, by table."""
    found = {}
    for schema, table in _tables():
        row = conn.execute(
            sql.SQL("select count(*) from {} where participant_token = any(%s)").format(sql.Identifier(schema, table)),
            [list(tokens)],
        ).fetchone()
        assert row is not None
        found[f"{schema}.{table}"] = int(row[0])
    return found


def erase_rows(conn: psycopg.Connection) -> dict[str, int]:
    """Takes the persons of `note_tokens` out of vault and cuts their rows in raw; returns the rows by table.

    Part of the caller's transaction, which keeps loads and builds away (kkbc.warehouse.locks); as the owner.
    """
    done = {}
    for schema, table in _tables():
        place = sql.Identifier(schema, table)
        statement = (
            sql.SQL("delete from {} t using {} e where t.participant_token = e.token")
            if schema == "vault"
            else sql.SQL("update {} t set participant_token = e.cut from {} e where t.participant_token = e.token")
        )
        done[f"{schema}.{table}"] = conn.execute(statement.format(place, ERASED_TOKENS)).rowcount
    # That somebody was looked at or restricted stays on record, of nobody in particular. Facts stay restricted.
    for table in TABLES_OF_PERSONS:
        statement = sql.SQL("update {} t set participant_token = e.cut from {} e where t.participant_token = e.token")
        place = sql.Identifier("vault", table)
        done[f"vault.{table}"] = conn.execute(statement.format(place, ERASED_TOKENS)).rowcount
    done["vault.person"] = conn.execute(
        sql.SQL("delete from vault.person t using {} e where t.participant_token = e.token").format(ERASED_TOKENS)
    ).rowcount
    # Of a change of the key that broke off: it would keep the token, and the next one beside it.
    conn.execute(sql.SQL("delete from vault.new_token t using {} e where t.old_token = e.token").format(ERASED_TOKENS))
    return done


def erase_lines(conn: psycopg.Connection, slices: Iterable[Slice], note: AuditNote) -> dict[str, int]:
    """Follows in vault and quarantine what became of landed files of these slices; returns what was done, in rows.

    A slice in force loses in vault the rows that landing has no more, and its quarantined rows are closed; its accepted
    ones stay in raw and in its counts until it is read again. Of a slice that is not in force the rows are quarantined.
    Part of the caller's transaction, as `erase_rows` is.
    """
    done: Counter[str] = Counter()
    landing = Landing(get_settings().landing)
    for slice_ in slices:
        record = SliceRecord.load(conn, slice_)
        if record is None or record.landed_uri is None or record.status in (None, "rejected"):
            continue
        lines = erased_lines(landing, record)
        if not lines:
            continue
        if record.status == "loaded":
            done["vault rows by line"] += _delete_in_vault(conn, slice_, lines)
            done["quarantined rows closed"] += close_erased(conn, slice_, lines, note)
        else:
            done["rows moved to quarantine"] += settle_erased(conn, record, lines, note)
    return dict(done)


def settle_erased(conn: psycopg.Connection, record: SliceRecord, lines: list[int], note: AuditNote) -> int:
    """Quarantines rows of erased persons in a slice of which no row is loaded; returns how many had been accepted."""
    moved = quarantine_erased(conn, record.slice, lines, note, record.load_id or next_load_id(conn))
    if moved:
        move_to_quarantine(conn, record.slice, moved)
    return moved


def erased_lines(landing: Landing, record: SliceRecord) -> list[int]:
    """The lines of a slice that are, by the rows kept in landing, of persons who were erased."""
    if record.landed_uri is None:
        return []
    lines: list[int] = []
    for frame in landing.rows(record.landed_uri, "quarantined"):
        lines += frame.filter(pl.col("_errors").list.contains(ERASED))["_line"].to_list()
    return lines


def slices_landed_in(conn: psycopg.Connection, uris: Sequence[str]) -> list[Slice]:
    """The slices whose bytes lie in these folders of landing."""
    rows = conn.execute(
        "select feed, branch_id, business_date, revision from ops.slice where landed_uri = any(%s)"
        " order by branch_id, business_date, feed, revision",
        [list(uris)],
    ).fetchall()
    return [Slice(*row) for row in rows]


def _delete_in_vault(conn: psycopg.Connection, slice_: Slice, lines: list[int]) -> int:
    contract = load_contract(slice_.feed)
    if not contract.has_persons:
        return 0
    return conn.execute(
        sql.SQL(
            "delete from {} where _branch_id = %(branch_id)s and _business_date = %(business_date)s"
            " and _line = any(%(lines)s)"
        ).format(sql.Identifier("vault", contract.table)),
        {**slice_.key(), "lines": lines},
    ).rowcount


def _tables() -> list[tuple[str, str]]:
    """The tables of rows of persons, vault first: the order in which loads lock them."""
    contracts = [contract for contract in map(load_contract, feeds()) if contract.has_nik]
    return [(schema, contract.table) for schema in ("vault", "raw") for contract in contracts]
