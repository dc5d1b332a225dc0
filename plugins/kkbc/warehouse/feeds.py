"""The tables of a feed, made from its contract: rows in raw, persons in vault, what the gate reads in audit.

Migrations made those of the first feeds and know of no others. What is made here is the same (tests/warehouse/
test_feeds.py), so that a contract and `kkbc migrate` are all that a new feed needs of the warehouse.
"""

from collections.abc import Iterator
from typing import LiteralString, NamedTuple

import psycopg
from psycopg import sql

from kkbc.core.errors import UserError
from kkbc.exchange.contracts import Column, Contract, ExchangeType, feeds, load_contract
from kkbc.warehouse.vault_readers import make_reader

TYPES: dict[ExchangeType, LiteralString] = {
    "text": "text",
    "code": "text",
    "date": "date",
    "month": "date",
    "timestamp": "timestamp with time zone",
    "int": "bigint",
    "idr": "bigint",
}
"""The type in the warehouse of each type of the exchange."""


class TableColumn(NamedTuple):
    """A column of a table: its name, its type as PostgreSQL formats it, and whether it may not be null."""

    name: str
    type: LiteralString
    not_null: bool


_ADDRESS = (
    TableColumn("_business_date", "date", True),
    TableColumn("_branch_id", "text", True),
    TableColumn("_revision", "integer", True),
)
_PLACE = (TableColumn("_line", "bigint", True), TableColumn("_load_id", "bigint", True))
_TOKEN = TableColumn("participant_token", "text", True)
_FILE = TableColumn("_file", "text", False)
_WARNINGS = TableColumn("_warnings", "text[]", True)
_READERS: dict[str, tuple[LiteralString, ...]] = {"raw": ("transformer", "auditor"), "vault": ()}


def raw_columns(contract: Contract) -> list[TableColumn]:
    """The columns of the feed's table in raw: the address of a row, the token of its person, what is not personal."""
    return [*_ADDRESS, _FILE, *_PLACE, _WARNINGS, *_token(contract), *filter(None, map(_in_raw, contract.columns))]


def vault_columns(contract: Contract) -> list[TableColumn]:
    """The columns of the feed's table in vault: the address of a row, the token, and what is personal."""
    return [*_ADDRESS, *_PLACE, *_token(contract), *(_as_it_is(c) for c in contract.columns if c.personal)]


def make(conn: psycopg.Connection) -> None:
    """Sees to it that every contract has its tables, with grants and comments, its audit view, and its row in ops.feed.

    A column that a contract has got since its tables were made is added; rows of before have no value in it. Part of
    the caller's transaction, as the owner. Raises UserError for any other difference between contract and table: what
    becomes of the rows that are there is for a person to decide.
    """
    names = feeds()
    for contract in map(load_contract, names):
        if contract.has_persons:
            _make_table(conn, "vault", contract, vault_columns(contract))
            _let_loader_delete(conn, contract)
            make_reader(conn, contract)
            keep_no_statistics(conn, contract)
        _make_table(conn, "raw", contract, raw_columns(contract))
        _make_view(conn, contract)
    _list(conn, names)


def keep_no_statistics(conn: psycopg.Connection, contract: Contract) -> None:
    """Has the planner keep no values of the personal columns of the feed's table in vault, nor of its partitions."""
    conn.execute(
        "select ops.keep_no_statistics(relid) from pg_partition_tree(to_regclass(format('vault.%%I', %s::text)))",
        [contract.table],
    )


def check_made(conn: psycopg.Connection) -> None:
    """Raises UserError for a feed whose tables were not made since its contract came."""
    made = {feed for (feed,) in conn.execute("select feed from ops.feed").fetchall()}
    lacking = [feed for feed in feeds() if feed not in made]
    if lacking:
        raise UserError(f"feed {lacking[0]} has a contract and no tables yet", "run `kkbc migrate`, which makes them")


def view_columns(contract: Contract) -> Iterator[tuple[str, sql.Composable]]:
    """The columns of the feed's view in audit with their expressions, over audit.loaded_slices as s and raw as r.

    Those of raw, and for an instant that may not lie after the business date its Jakarta day.
    """
    # A row that a retry brought in is of that load.
    load = sql.SQL("case when r._load_id = any (s.retry_load_ids) then r._load_id else s.load_id end")
    yield from (("slice", sql.SQL("s.slice")), ("revision", sql.SQL("s.revision")), ("load_id", load))
    for name in ("_branch_id", "_business_date", "_revision", "_load_id", "_line"):
        yield name, sql.Identifier("r", name)
    address = {column.name for column in (*_ADDRESS, _FILE, *_PLACE, _WARNINGS)}
    for column in raw_columns(contract):
        if column.name in contract.days and contract.column(column.name).type == "timestamp":
            day = sql.SQL("(r.{} at time zone 'Asia/Jakarta')::date").format(sql.Identifier(column.name))
            yield day_column(contract, column.name), day
        if column.name not in address:
            yield column.name, sql.Identifier("r", column.name)


def day_column(contract: Contract, name: str) -> str:
    """What the feed's view in audit calls the Jakarta day of that column, one of the contract's `days`."""
    return name if contract.column(name).type == "date" else f"{name.removesuffix('_at')}_on"


def _token(contract: Contract) -> tuple[TableColumn, ...]:
    return (_TOKEN,) if contract.has_nik else ()


def _as_it_is(column: Column) -> TableColumn:
    return TableColumn(column.name, TYPES[column.type], column.always_there)


def _in_raw(column: Column) -> TableColumn | None:
    if column.derived is not None:
        return TableColumn(column.derived.name, "integer", column.always_there)
    return None if column.personal else _as_it_is(column)


def _make_table(conn: psycopg.Connection, schema: str, contract: Contract, columns: list[TableColumn]) -> None:
    table = sql.Identifier(schema, contract.table)
    found = _columns_of(conn, schema, contract.table)
    if found:
        for column in _added(f"{schema}.{contract.table}", contract.feed, found, columns):
            name, type_ = sql.Identifier(column.name), sql.SQL(column.type)
            conn.execute(sql.SQL("alter table {} add column {} {}").format(table, name, type_))
        return
    listed = sql.SQL(", ").join(map(_definition, columns))
    conn.execute(sql.SQL("create table {} ({}) partition by range (_business_date)").format(table, listed))
    # A slice is deleted and inserted as a whole, so its address is the index.
    conn.execute(sql.SQL("create index on {} (_branch_id, _business_date)").format(table))
    if schema == "vault" and contract.has_nik:
        conn.execute(sql.SQL("create index on {} (participant_token)").format(table))
    rights = sql.SQL("insert, delete" if schema == "vault" else "select, insert, delete")
    conn.execute(sql.SQL("grant {} on {} to loader").format(rights, table))
    for role in _READERS[schema]:
        conn.execute(sql.SQL("grant select on {} to {}").format(table, sql.SQL(role)))
    comment = f"Feed {contract.feed}{', who is behind a row' if schema == 'vault' else ''}: {contract.description}"
    conn.execute(sql.SQL("comment on table {} is {}").format(table, sql.Literal(comment)))


def _let_loader_delete(conn: psycopg.Connection, contract: Contract) -> None:
    """Of the vault role loader may read what finds the rows to delete, and by what the persons could be reached."""
    columns = [*(column.name for column in (*_ADDRESS, *_PLACE, *_token(contract))), *contract.contacts]
    conn.execute(
        sql.SQL("grant select ({}) on {} to loader").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier("vault", contract.table)
        )
    )


def _definition(column: TableColumn) -> sql.Composable:
    constraint = sql.SQL(" not null" if column.not_null else "")
    default = sql.SQL(" default '{}'" if column == _WARNINGS else "")
    return sql.SQL("{} {}{}{}").format(sql.Identifier(column.name), sql.SQL(column.type), constraint, default)


def _columns_of(conn: psycopg.Connection, schema: str, name: str) -> dict[str, str]:
    """The types of the columns of a table or view, in their order; empty when there is none of that name."""
    rows = conn.execute(
        "select attname::text, format_type(atttypid, atttypmod) from pg_attribute"
        " where attrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) and attnum > 0 and not attisdropped"
        " order by attnum",
        [schema, name],
    ).fetchall()
    return dict(rows)


def _added(table: str, feed: str, found: dict[str, str], columns: list[TableColumn]) -> list[TableColumn]:
    """The columns that the table lacks. Raises UserError for one that the contract lacks or has of another type."""
    wanted = {column.name: column.type for column in columns}
    for name, type_ in found.items():
        if name not in wanted:
            raise UserError(
                f"{table} has a column {name}, and the contract of {feed} puts none there",
                "put it back into the contract, or write a migration that moves or drops it",
            )
        if wanted[name] != type_:
            raise UserError(
                f"column {name} of {table} is {type_}, and {wanted[name]} by the contract of {feed}",
                "put the type back into the contract, or write a migration that changes it",
            )
    return [column for column in columns if column.name not in found]


def _make_view(conn: psycopg.Connection, contract: Contract) -> None:
    view, wanted = f"loaded_{contract.table}", dict(view_columns(contract))
    found = _columns_of(conn, "audit", view)
    if list(found) == list(wanted):
        return
    name = sql.Identifier("audit", view)
    conn.execute(sql.SQL("drop view if exists {}").format(name))
    conn.execute(
        sql.SQL(
            "create view {} as select {} from audit.loaded_slices as s"
            " join {} as r on r._branch_id = s.branch_id and r._business_date = s.business_date where s.feed = {}"
        ).format(
            name,
            sql.SQL(", ").join(sql.SQL("{} as {}").format(value, sql.Identifier(to)) for to, value in wanted.items()),
            sql.Identifier("raw", contract.table),
            sql.Literal(contract.feed),
        )
    )
    comment = f"Rows of feed {contract.feed} that the build at hand takes in and that are in force."
    conn.execute(sql.SQL("comment on view {} is {}").format(name, sql.Literal(comment)))
    conn.execute(sql.SQL("grant select on {} to auditor").format(name))


def _list(conn: psycopg.Connection, names: tuple[str, ...]) -> None:
    """Brings ops.feed to the contracts; a row that says the same already is not touched.

    Raises UserError when slices of a feed are there and its contract is not: their rows could not be read again.
    """
    lost = conn.execute(
        "select feed from ops.feed f where feed <> all(%s) and exists (select from ops.slice s where s.feed = f.feed)"
        " order by 1",
        [list(names)],
    ).fetchall()
    if lost:
        raise UserError(f"feed {lost[0][0]} has slices in the warehouse and no contract", "restore its contract")
    conn.execute("delete from ops.feed where feed <> all(%s)", [list(names)])
    for contract in map(load_contract, names):
        conn.execute(
            "insert into ops.feed as f (feed, sender, has_nik, has_contact, expected_from) values (%s, %s, %s, %s, %s)"
            " on conflict (feed) do update set sender = excluded.sender, has_nik = excluded.has_nik,"
            " has_contact = excluded.has_contact, expected_from = excluded.expected_from"
            " where f is distinct from excluded",
            [
                contract.feed,
                contract.sender,
                contract.has_nik,
                bool(contract.contacts),
                contract.expected_from,
            ],
        )
