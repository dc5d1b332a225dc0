"""A real server with the database of a branch, read by a login that could write."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from kkbc.intake.sources.postgres import PostgresSource
from kkbc.warehouse import schema, server
from tests.deliveries import TEMPLATE
from tests.intake.sources.branch_database.calls import LOGIN, PASSWORD, TYPES, run, visiting


@pytest.fixture(scope="module")
def database(pg: server.Server) -> Iterator[server.Server]:
    """The server, with a database cabang and a login of a branch that may do anything in it."""
    schema.create_database(pg, "cabang")
    with psycopg.connect(pg.conninfo(), autocommit=True) as conn:
        conn.execute(sql.SQL("create role {} login password {}").format(sql.Identifier(LOGIN), PASSWORD))
    yield pg
    schema.drop_database(pg, "cabang")
    with psycopg.connect(pg.conninfo(), autocommit=True) as conn:
        conn.execute(sql.SQL("drop role {}").format(sql.Identifier(LOGIN)))


@pytest.fixture
def at_branch(database: server.Server) -> Iterator[psycopg.Connection]:
    """The branch's own people at work in its database, with the tables of the page, empty."""
    with psycopg.connect(database.conninfo("cabang"), autocommit=True) as conn:
        conn.execute("drop schema if exists ekspor cascade")
        conn.execute("create schema ekspor")
        for feed, columns in TEMPLATE.items():
            wire = ", ".join(f"{name} {TYPES.get(name, 'text')}" for name in columns)
            run(conn, f"create table ekspor.{feed} (tgl_data date, revisi int, {wire})")
        conn.execute(
            "create table ekspor.pengiriman"
            " (tgl_data date, umpan varchar(20), revisi int, jumlah_baris int, dikirim_pada timestamp)"
        )
        conn.execute(f"grant all on schema ekspor to {LOGIN}")
        conn.execute(f"grant all on all tables in schema ekspor to {LOGIN}")
        yield conn


@pytest.fixture
def source(database: server.Server) -> Iterator[PostgresSource]:
    with visiting(database) as opened:
        yield opened


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "sent"
