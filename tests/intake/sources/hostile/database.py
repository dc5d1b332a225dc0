"""A hostile branch with a database."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests.deliveries import TEMPLATE
from tests.intake.sources.branch_api import TOKEN

from .attack import DAY, DAYS, FEEDS, Attack


@contextmanager
def rows_of_two_megabytes(root: Path, server: Any, rows: int = 1000) -> Iterator[Attack]:
    """A table of so many rows of 2 MB, in a database of `server`."""
    login = "penjahat"
    with psycopg.connect(server.conninfo(), autocommit=True) as conn, ExitStack() as undo:
        conn.execute(sql.SQL("create role {} login password {}").format(sql.Identifier(login), TOKEN))
        undo.callback(conn.execute, sql.SQL("drop role {}").format(sql.Identifier(login)))
        conn.execute("create database penjahat")
        undo.callback(conn.execute, "drop database penjahat with (force)")
        with psycopg.connect(server.conninfo("penjahat"), autocommit=True) as made:
            made.execute(
                "create schema ekspor; create table ekspor.pengiriman (tgl_data date, umpan text, revisi int,"
                f" jumlah_baris int, dikirim_pada timestamp); grant usage on schema ekspor to {login}"
            )
            for feed in FEEDS:
                columns = ", ".join(f"{name} text" for name in TEMPLATE[feed])
                made.execute(f"create table ekspor.{feed} (tgl_data date, revisi int, {columns})")  # type: ignore[arg-type]
                names = sql.SQL(", ").join(map(sql.Identifier, TEMPLATE[feed]))
                for day in DAYS:
                    values = [day, 1, *TEMPLATE[feed].values()]
                    places = sql.SQL(", ").join([sql.Placeholder()] * len(values))
                    statement = sql.SQL("insert into {} (tgl_data, revisi, {}) values ({})")
                    made.execute(statement.format(sql.Identifier("ekspor", feed), names, places), values)
                    made.execute("insert into ekspor.pengiriman values (%s, %s, 1, 1, null)", [day, feed])
            # One stored value, repeated by a view: the disk of the test holds none of it.
            made.execute("alter table ekspor.iuran rename to satu")
            made.execute(
                f"create view ekspor.iuran as select s.*, case when tgl_data = '{DAY}' then repeat('x', 2000000) end"
                " as isi from ekspor.satu s"
                f" cross join generate_series(1, case when tgl_data = '{DAY}' then {rows} else 1 end);"
                f"update ekspor.pengiriman set jumlah_baris = {rows} where umpan = 'iuran' and tgl_data = '{DAY}'"
            )
            made.execute(f"grant select on all tables in schema ekspor to {login}")
        fields = {"host": "127.0.0.1", "port": server.port, "login": login, "password": TOKEN, "schema": "penjahat"}
        yield Attack("postgres", fields)
