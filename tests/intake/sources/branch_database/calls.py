"""What tests of kind postgres ask for and put there."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kkbc.core.connections import Connection
from kkbc.core.errors import SliceRejected
from kkbc.exchange.registry import Branch
from kkbc.exchange.slices import Delivery
from kkbc.intake.sources import Wanted
from kkbc.intake.sources.postgres import Limits, PostgresSource
from kkbc.warehouse import server
from tests.deliveries import TEMPLATE
from tests.intake.sources.pulled import (
    DAY,
    KC001,
    UNTIL,
)

LOGIN, PASSWORD = "penarik", "rahasia-sekali"
QUICK = Limits(connect=2, statement=0.5, lock=0.3, idle=10, grace=0.5)

# The wire columns as proper types; the rest is text.
TYPES = {
    "tgl_pendaftaran": "timestamp",
    "tgl_lahir": "date",
    "jenis_kelamin": "char(1)",
    "kode_kantor": "char(8)",
    "jam_awal": "time",
    "jam_akhir": "time",
    "penghasilan": "numeric(15,2)",
    "jml_bulan": "smallint",
    "diubah_pada": "timestamp",
    "tgl_bayar": "timestamp",
    "periode_mulai": "date",
    "iuran_jkk": "bigint",
    "iuran_jkm": "bigint",
    "iuran_jht": "bigint",
    "total": "numeric",
    "mulai": "timestamp",
    "selesai": "timestamp",
    "jumlah_kontak": "integer",
    "biaya": "numeric",
    "durasi_menit": "integer",
}


def run(conn: psycopg.Connection, statement: str, values: Any = None) -> Any:
    return conn.execute(statement, values)


def fields(database: server.Server) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": database.port, "login": LOGIN, "password": PASSWORD, "schema": "cabang"}


def connection(database: server.Server, **changes: Any) -> Connection:
    return Connection("db_kc001", **(fields(database) | changes))


@contextmanager
def visiting(
    database: server.Server, *, branch: Branch = KC001, limits: Limits = QUICK, **changes: Any
) -> Iterator[PostgresSource]:
    source = PostgresSource(branch, connection(database, **changes), limits)
    try:
        yield source
    finally:
        source.close()


def put(
    conn: psycopg.Connection, feed: str, rows: list[dict[str, Any]], *, day: date = DAY, revision: int = 1, **said: Any
) -> None:
    """Rows of a slice, each the feed's template with values over it, and what pengiriman says of them."""
    columns = ["tgl_data", "revisi", *TEMPLATE[feed]]
    for row in rows:
        values = {"tgl_data": day, "revisi": revision} | {k: v or None for k, v in (TEMPLATE[feed] | row).items()}
        places = ", ".join(["%s"] * len(columns))
        run(conn, f"insert into ekspor.{feed} ({', '.join(columns)}) values ({places})", [values[c] for c in columns])
    announce(conn, feed, len(rows), day=day, revision=revision, **said)


def announce(
    conn: psycopg.Connection,
    feed: str,
    rows: int | None,
    *,
    day: date = DAY,
    revision: int | None = 1,
    sent_at: str | None = "2023-12-11 19:02:11",
) -> None:
    run(conn, "insert into ekspor.pengiriman values (%s, %s, %s, %s, %s)", [day, feed, revision, rows, sent_at])


def deliveries(source: PostgresSource, until: date = UNTIL) -> list[Delivery]:
    return [manifest.read() for manifest in source.manifests(Wanted(date(2023, 1, 1), until))]


def fetched(source: PostgresSource, target: Path, feed: str) -> list[dict[str, Any]]:
    """The rows of `feed` in the one delivery there is."""
    (delivery,) = deliveries(source)
    return fetch(source, delivery, feed, target)


def fetch(source: PostgresSource, delivery: Delivery, feed: str, target: Path) -> list[dict[str, Any]]:
    (entry,) = [entry for entry in delivery.entries if entry.feed == feed]
    source.fetch(delivery, entry, target)
    return [json.loads(line) for line in target.read_bytes().splitlines()]


def rejection(source: PostgresSource, delivery: Delivery, feed: str, target: Path) -> tuple[str, str]:
    (entry,) = [entry for entry in delivery.entries if entry.feed == feed]
    with pytest.raises(SliceRejected) as rejected:
        source.fetch(delivery, entry, target)
    return rejected.value.reason, rejected.value.detail
