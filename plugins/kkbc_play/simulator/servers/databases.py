"""The databases of a world: one for each branch that delivers by postgres, on a server of the world's own."""

import json
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from kkbc.warehouse import schema, server
from kkbc_play.simulator.ekspor import columns_of_table, moment_type
from kkbc_play.simulator.rows import BRANCH_FEEDS
from kkbc_play.simulator.spelling import Profile

# All of it can be made again from the world's folder.
_CONFIGURATION = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "'32MB'",
    "max_connections": "100",
    "superuser_reserved_connections": "3",
    "reserved_connections": "0",
    "min_wal_size": "'32MB'",
    "max_wal_size": "'128MB'",
}


class Databases:
    """The server in `home`/pg. Logins may read schema ekspor of their own database and nothing else."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._server = server.start(home, configuration=_CONFIGURATION)
        with psycopg.connect(self._server.conninfo(), autocommit=True) as conn:
            conn.execute("revoke connect on database postgres, template1 from public")

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.port

    def open(self, branch_id: str, password: str, profile: Profile) -> None:
        """Makes the branch's database, tables and login, unless they are there."""
        name = name_of(branch_id)
        schema.create_database(self._server, name)
        with psycopg.connect(self._server.conninfo(), autocommit=True) as conn:
            known = conn.execute("select 1 from pg_roles where rolname = %s", [name]).fetchone()
            login = sql.SQL("{} role {} login password {}").format(
                sql.SQL("alter" if known else "create"), sql.Identifier(name), sql.Literal(password)
            )
            conn.execute(login)
        with psycopg.connect(self._server.conninfo(name)) as conn:
            conn.execute(_tables(name, profile))

    def take_in(self, branch_id: str, root: Path) -> None:
        """Copies in what has appeared below `root` for the branch, a delivery a transaction."""
        said = sorted(
            (root / branch_id).glob("*/pengiriman.r*.json"), key=lambda path: (path.parent.name, len(path.name), path)
        )
        with psycopg.connect(self._server.conninfo(name_of(branch_id)), autocommit=True) as conn:
            taken = {name for (name,) in conn.execute("select name from simulator.taken_in").fetchall()}
            for path in said:
                name = f"{path.parent.name}/{path.name}"
                if name not in taken:
                    with conn.transaction():
                        _copy_delivery(conn, path)
                        conn.execute("insert into simulator.taken_in values (%s)", [name])

    def stop(self) -> None:
        """Stops the server; the databases stay."""
        server.stop(self.home)


def name_of(branch_id: str) -> str:
    """The branch's database and login."""
    return branch_id.lower()


def _tables(name: str, profile: Profile) -> sql.Composed:
    statements = [
        sql.SQL("create schema if not exists ekspor"),
        sql.SQL("create schema if not exists simulator"),
        sql.SQL("create table if not exists simulator.taken_in (name text primary key)"),
        sql.SQL(
            "create table if not exists ekspor.pengiriman (tgl_data date, umpan text, revisi integer,"
            " jumlah_baris integer, dikirim_pada {})"
        ).format(sql.SQL(moment_type(profile))),
    ]
    for feed in BRANCH_FEEDS:
        columns = [
            sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(kind))
            for column, kind in columns_of_table(profile, feed).items()
        ]
        table = sql.Identifier("ekspor", feed)
        statements.append(sql.SQL("create table if not exists {} ({})").format(table, sql.SQL(", ").join(columns)))
        index = sql.Identifier(f"{feed}_tgl_data")
        statements.append(sql.SQL("create index if not exists {} on {} (tgl_data, revisi)").format(index, table))
    statements += [
        sql.SQL("revoke all on database {} from public").format(sql.Identifier(name)),
        sql.SQL("grant connect on database {0} to {0}").format(sql.Identifier(name)),
        sql.SQL("alter role {} set default_transaction_read_only = on").format(sql.Identifier(name)),
        sql.SQL("grant usage on schema ekspor to {}").format(sql.Identifier(name)),
        sql.SQL("grant select on all tables in schema ekspor to {}").format(sql.Identifier(name)),
    ]
    return sql.SQL("; ").join(statements)


def _copy_delivery(conn: psycopg.Connection[Any], said: Path) -> None:
    revision = said.name.split(".")[1]
    for feed in BRANCH_FEEDS:
        path = said.with_name(f"{feed}.{revision}.jsonl")
        if path.is_file():
            _copy(conn, feed, [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]])
    _copy(conn, "pengiriman", json.loads(said.read_bytes()))


def _copy(conn: psycopg.Connection[Any], table: str, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    columns = sql.SQL(", ").join(map(sql.Identifier, rows[0]))
    statement = sql.SQL("copy {} ({}) from stdin").format(sql.Identifier("ekspor", table), columns)
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(tuple(row.values()))
