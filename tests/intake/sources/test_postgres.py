"""Kind postgres against a real server: databases of branches, read by a login that could write."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from kkbc.core.connections import Connection
from kkbc.core.errors import BranchRefused, BranchTimeout, BranchUnavailable, SliceRejected
from kkbc.exchange.registry import Branch
from kkbc.exchange.slices import Delivery, Entry
from kkbc.intake.sources import Wanted, open_source
from kkbc.intake.sources.postgres import Limits, PostgresSource
from kkbc.warehouse import schema, server
from tests.deliveries import TEMPLATE, deliver
from tests.intake.sources import pulled
from tests.intake.sources.pulled import (
    DAY,
    KC001,
    KC120,
    ROWS,
    UNTIL,
    empty_warehouse,
    keep_connection,
    loaded,
    pull_by,
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


@pytest.fixture
def source(database: server.Server) -> Iterator[PostgresSource]:
    with visiting(database) as opened:
        yield opened


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "sent"


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


# --- what is announced ---


def test_each_revision_of_a_day_is_a_delivery(at_branch: psycopg.Connection, source: PostgresSource) -> None:
    announce(at_branch, "iuran", 3, day=date(2023, 12, 12))
    announce(at_branch, "pendaftaran", 5, revision=2)
    announce(at_branch, "pendaftaran", 4)
    announce(at_branch, "iuran", 0)
    announce(at_branch, "iuran", 1, day=date(2023, 12, 13))
    found = list(source.manifests(Wanted(date(2023, 12, 12), date(2023, 12, 12))))
    assert [(item.business_date.day, item.name) for item in found] == [
        (11, "pengiriman r1"),
        (11, "pengiriman r2"),
        (12, "pengiriman r1"),
    ]
    first, second, _ = [item.read() for item in found]
    assert [(e.feed, e.rows) for e in first.entries] == [("iuran", 0), ("pendaftaran", 4)]
    assert [(e.feed, e.rows) for e in second.entries] == [("pendaftaran", 5)]
    assert (first.revision, second.revision, first.rejection) == (1, 2, None)


def test_the_stamp_changes_when_a_row_does(at_branch: psycopg.Connection, source: PostgresSource) -> None:
    announce(at_branch, "iuran", 3)
    announce(at_branch, "iuran", 3, revision=2)
    before = [item.stamp for item in source.manifests(Wanted(DAY, DAY))]
    assert [item.stamp for item in source.manifests(Wanted(DAY, DAY))] == before
    at_branch.execute("update ekspor.pengiriman set jumlah_baris = 4 where revisi = 2")
    after = [item.stamp for item in source.manifests(Wanted(DAY, DAY))]
    assert after[0] == before[0]
    assert after[1] != before[1]


@pytest.mark.parametrize(
    ("kind", "sent_at"),
    [
        ("timestamp", "2023-12-11 21:02:11"),
        ("timestamptz", "2023-12-11 12:02:11+00"),
        ("text", "2023-12-11T19:02:11+07:00"),
    ],
)
def test_each_slice_is_sent_when_it_says(
    at_branch: psycopg.Connection, database: server.Server, kind: str, sent_at: str
) -> None:
    run(at_branch, f"alter table ekspor.pengiriman alter dikirim_pada type {kind} using null")
    announce(at_branch, "iuran", 0, sent_at=sent_at)
    announce(at_branch, "kegiatan", 0, sent_at=None)
    with visiting(database, branch=KC120) as source:
        (delivery,) = deliveries(source)
    assert [e.sent_at for e in delivery.entries] == [datetime(2023, 12, 11, 12, 2, 11, tzinfo=UTC), None]


def test_what_is_announced_wrongly_is_judged_as_in_manifests(
    at_branch: psycopg.Connection, source: PostgresSource, target: Path
) -> None:
    announce(at_branch, "gaji", 1)
    announce(at_branch, "iuran", None, sent_at=None)
    announce(at_branch, "kegiatan", 1, sent_at="infinity")
    announce(at_branch, "iuran", 1, day=date(2023, 12, 12))
    announce(at_branch, "iuran", 2, day=date(2023, 12, 12))
    announce(at_branch, "iuran", 1, day=date(2023, 12, 10), revision=0)
    announce(at_branch, "kegiatan", 1, day=date(2023, 12, 10), revision=None)
    at_branch.execute("insert into ekspor.pengiriman values ('infinity', 'iuran', 1, 1), ('-infinity', 'iuran', 1, 1)")
    invalid, strange, twice = deliveries(source)
    assert (invalid.rejection, invalid.entries) == (None, ())
    assert invalid.notes == ("its revision is no whole number from 1 to 999: it is not taken",)
    assert (strange.unknown_feeds, strange.rejection) == (("gaji",), None)
    assert [(e.feed, e.rows, e.sent_at) for e in strange.entries] == [("iuran", -1, None), ("kegiatan", 1, None)]
    assert twice.rejection is not None
    assert (twice.rejection[0], len(twice.entries)) == ("UNREADABLE", 3)
    *_, last = source.manifests(Wanted(DAY, DAY))
    assert rejection(source, last.read(), "iuran", target)[0] == "UNREADABLE"


# --- rows ---


def test_values_keep_the_spelling_of_the_database(
    at_branch: psycopg.Connection, database: server.Server, target: Path
) -> None:
    at_branch.execute("drop table ekspor.iuran")
    at_branch.execute(
        "create domain ekspor.jam as time;"
        "create table ekspor.iuran (tgl_data date, revisi int, id_bayar text, numerik numeric(15,2), besar bigint,"
        " biner float8, tanggal date, jam time, jam_lain ekspor.jam, lokal timestamp, saat timestamptz, ya boolean,"
        ' isi json, byte bytea, "Kolom Lain" char(5), daftar int[])'
    )
    at_branch.execute(
        "insert into ekspor.iuran values (%s, 1, %s, 1500000, 9007199254740993, 0.1, 'infinity', '08:00', '08:00:30',"
        " '2023-12-11 09:00:00.5', '2023-12-11 01:00:00+00', true, %s, '\\x00ff', 'ab', '{1,2}')",
        [DAY, 'é "x"\n\\ \t\u2028', '{"a":\r\n 1.0}'],
    )
    at_branch.execute(f"grant select on ekspor.iuran to {LOGIN}")
    announce(at_branch, "iuran", 1)
    with visiting(database, branch=KC120) as source:
        source.fetch(deliveries(source)[0], Entry("iuran", 1), target)
    line = target.read_text(encoding="utf-8")
    assert line.endswith("}\n")
    assert line.count("\n") == 1
    assert '"numerik":1500000.00,"besar":9007199254740993,"biner":0.1,' in line
    row = json.loads(line)
    assert {name: row[name] for name in row if name not in ("numerik", "besar", "biner")} == {
        "id_bayar": 'é "x"\n\\ \t\u2028',
        "tanggal": "infinity",
        "jam": "08:00",
        "jam_lain": "08:00:30",
        "lokal": "2023-12-11T09:00:00.5",
        "saat": "2023-12-11T10:00:00+09:00",
        "ya": True,
        "isi": {"a": 1.0},
        "byte": "\\x00ff",
        "Kolom Lain": "ab   ",
        "daftar": [1, 2],
    }


def test_rows_come_by_key_then_in_the_order_in_which_they_were_written(
    at_branch: psycopg.Connection, source: PostgresSource, target: Path
) -> None:
    put(
        at_branch,
        "iuran",
        [{"id_bayar": key, "kanal_bayar": str(n)} for n, key in enumerate(["b", "a", "B", "b", "a"])],
    )
    put(at_branch, "iuran", [{"id_bayar": "0"}], revision=2)
    put(at_branch, "iuran", [{"id_bayar": "0"}], day=date(2023, 12, 12))
    delivery = deliveries(source, DAY)[0]
    *_, last = source.manifests(Wanted(DAY, DAY))
    with pytest.raises(ValueError, match="not of the delivery that was read last"):
        source.fetch(delivery, delivery.entries[0], target)
    first = next(iter(source.manifests(Wanted(DAY, DAY)))).read()
    rows = fetch(source, first, "iuran", target)
    assert [(row["id_bayar"], row["kanal_bayar"]) for row in rows] == [
        ("B", "2"),
        ("a", "1"),
        ("a", "4"),
        ("b", "0"),
        ("b", "3"),
    ]
    assert not {"tgl_data", "revisi"} & rows[0].keys()
    assert len(fetch(source, last.read(), "iuran", target)) == 1


def test_a_slice_without_rows_is_a_file_of_no_bytes(
    at_branch: psycopg.Connection, source: PostgresSource, target: Path
) -> None:
    announce(at_branch, "kegiatan", 0)
    assert fetched(source, target, "kegiatan") == []
    assert target.read_bytes() == b""


def test_many_rows_come_through_a_cursor_of_the_server_in_a_read_only_snapshot(
    at_branch: psycopg.Connection, database: server.Server, target: Path
) -> None:
    at_branch.execute("drop table ekspor.iuran")
    at_branch.execute(
        "create view ekspor.iuran as select date '2023-12-11' as tgl_data, 1 as revisi, n as id_bayar,"
        " (select current_query()) as query, current_setting('transaction_isolation') as isolation,"
        " current_setting('transaction_read_only') as read_only, current_setting('timezone') as zone"
        " from generate_series(1, 2500) n"
    )
    at_branch.execute(f"grant select on ekspor.iuran to {LOGIN}")
    announce(at_branch, "iuran", 2500)
    with visiting(database, branch=KC120, limits=Limits()) as source:
        rows = fetched(source, target, "iuran")
    assert sorted(row["id_bayar"] for row in rows) == list(range(1, 2501))
    assert {row["query"].split(" FROM ")[0] for row in rows} == {"FETCH FORWARD 200"}
    assert {(row["isolation"], row["read_only"], row["zone"]) for row in rows} == {
        ("repeatable read", "on", "Asia/Jayapura")
    }


def test_a_database_in_another_encoding_gives_utf_8(
    database: server.Server, at_branch: psycopg.Connection, target: Path
) -> None:
    with psycopg.connect(database.conninfo(), autocommit=True) as conn:
        conn.execute("create database cabang_lama encoding 'WIN1252' locale 'C' template template0")
    try:
        with psycopg.connect(database.conninfo("cabang_lama"), client_encoding="UTF8") as conn:
            conn.execute(
                "create schema ekspor; create table ekspor.iuran (tgl_data date, revisi int, id_bayar text);"
                "create table ekspor.pengiriman as select date '2023-12-11' as tgl_data, 'iuran' as umpan, 1 as revisi,"
                " 1 as jumlah_baris, now() as dikirim_pada;"
                f"grant all on schema ekspor to {LOGIN}; grant all on all tables in schema ekspor to {LOGIN}"
            )
            conn.execute("insert into ekspor.iuran values ('2023-12-11', 1, %s)", ["André – €"])
        with visiting(database, schema="cabang_lama") as source:
            assert fetched(source, target, "iuran") == [{"id_bayar": "André – €"}]
    finally:
        schema.drop_database(database, "cabang_lama")


# --- one snapshot ---


def test_a_delivery_is_one_snapshot_whatever_the_branch_does_meanwhile(
    at_branch: psycopg.Connection, source: PostgresSource, target: Path
) -> None:
    put(at_branch, "pendaftaran", [{}])
    put(at_branch, "iuran", [{}, {"id_bayar": "P-2"}])
    (manifest,) = source.manifests(Wanted(DAY, DAY))
    # before it is read: what was listed is no longer so
    at_branch.execute("delete from ekspor.iuran where id_bayar = 'P-2'")
    at_branch.execute("update ekspor.pengiriman set jumlah_baris = 1")
    delivery = manifest.read()
    assert [entry.rows for entry in delivery.entries] == [1, 1]
    # after it: the branch restates all of it under our eyes
    at_branch.execute("truncate ekspor.kegiatan")
    at_branch.execute("update ekspor.iuran set kanal_bayar = 'POS'")
    at_branch.execute("delete from ekspor.pendaftaran")
    at_branch.execute("update ekspor.pengiriman set revisi = 2")
    assert [row["kanal_bayar"] for row in fetch(source, delivery, "iuran", target)] == ["BRI"]
    assert len(fetch(source, delivery, "pendaftaran", target)) == 1
    (restated,) = deliveries(source)
    assert restated.revision == 2


def test_a_delivery_that_is_withdrawn_before_it_is_read_has_no_slices(
    at_branch: psycopg.Connection, source: PostgresSource
) -> None:
    announce(at_branch, "iuran", 1)
    (manifest,) = source.manifests(Wanted(DAY, DAY))
    at_branch.execute("delete from ekspor.pengiriman")
    delivery = manifest.read()
    assert (delivery.entries, delivery.rejection) == ((), None)


def test_nothing_can_be_written_even_where_the_login_may(
    at_branch: psycopg.Connection, database: server.Server, target: Path
) -> None:
    """The branch's own view tries: the login may write to that table, the session that reads may not."""
    at_branch.execute("drop table ekspor.iuran")
    at_branch.execute(
        "create table ekspor.catatan (n int);"
        "create function ekspor.catat() returns text language sql volatile as"
        " $$ insert into ekspor.catatan values (1) returning n::text $$;"
        "create view ekspor.iuran as select date '2023-12-11' as tgl_data, 1 as revisi, ekspor.catat() as id_bayar;"
        f"grant all on all tables in schema ekspor to {LOGIN}"
    )
    put(at_branch, "kegiatan", [{}])
    announce(at_branch, "iuran", 1)
    info = database.conninfo("cabang") + f" user={LOGIN}"
    with psycopg.connect(info) as writer:
        assert writer.execute("select id_bayar from ekspor.iuran").fetchall() == [("1",)]
    with visiting(database) as source:
        (delivery,) = deliveries(source)
        assert rejection(source, delivery, "iuran", target) == (
            "UNREADABLE",
            "ekspor.iuran cannot be read (ReadOnlySqlTransaction)",
        )
        assert len(fetch(source, delivery, "kegiatan", target)) == 1
    assert at_branch.execute("select count(*) from ekspor.catatan").fetchall() == [(1,)]


# --- what is missing, forbidden or broken ---


def test_a_slice_that_cannot_be_read_leaves_the_others(
    at_branch: psycopg.Connection, source: PostgresSource, target: Path
) -> None:
    for feed in TEMPLATE:
        put(at_branch, feed, [{}])
    announce(at_branch, "pendaftaran", 1, day=date(2023, 12, 12))
    at_branch.execute("drop table ekspor.pendaftaran")
    at_branch.execute(f"revoke all on ekspor.iuran from {LOGIN}")
    first, second = source.manifests(Wanted(DAY, UNTIL))
    delivery = first.read()
    assert rejection(source, delivery, "pendaftaran", target) == (
        "FILE_MISSING",
        "there is no table ekspor.pendaftaran",
    )
    assert rejection(source, delivery, "iuran", target) == ("UNREADABLE", "ekspor.iuran is there and may not be read")
    assert len(fetch(source, delivery, "kegiatan", target)) == 1
    at_branch.execute("create table ekspor.pendaftaran (tgl_data date, nik text)")
    assert rejection(source, second.read(), "pendaftaran", target) == (
        "HEADER",
        "ekspor.pendaftaran has no column revisi",
    )


def test_columns_that_may_not_be_read_are_left_out(
    at_branch: psycopg.Connection, source: PostgresSource, target: Path
) -> None:
    put(at_branch, "iuran", [{}])
    at_branch.execute(f"revoke all on ekspor.iuran from {LOGIN}")
    at_branch.execute(f"grant select (tgl_data, revisi, id_bayar, nik) on ekspor.iuran to {LOGIN}")
    assert fetched(source, target, "iuran") == [{"id_bayar": "P-1", "nik": "1171011203909001"}]
    at_branch.execute(f"revoke all (tgl_data) on ekspor.iuran from {LOGIN}")
    (delivery,) = deliveries(source)
    assert rejection(source, delivery, "iuran", target) == ("UNREADABLE", "ekspor.iuran is there and may not be read")


def test_rows_that_the_branch_cannot_compute_are_unreadable(
    at_branch: psycopg.Connection, source: PostgresSource, target: Path
) -> None:
    at_branch.execute("drop table ekspor.iuran")
    at_branch.execute(
        "create view ekspor.iuran as select date '2023-12-11' as tgl_data, 1 as revisi, 1 / (n - 5) as id_bayar"
        " from generate_series(1, 10) n"
    )
    at_branch.execute(f"grant select on ekspor.iuran to {LOGIN}")
    announce(at_branch, "iuran", 10)
    (delivery,) = deliveries(source)
    assert rejection(source, delivery, "iuran", target) == (
        "UNREADABLE",
        "ekspor.iuran cannot be read (DivisionByZero)",
    )


@pytest.mark.parametrize(
    "spoil",
    [
        "drop schema ekspor cascade",
        "drop table ekspor.pengiriman",
        "alter table ekspor.pengiriman drop column jumlah_baris",
        "alter table ekspor.pengiriman alter tgl_data type text",
        f"revoke all on schema ekspor from {LOGIN}",
        f"revoke all on ekspor.pengiriman from {LOGIN}",
    ],
)
def test_a_branch_whose_pengiriman_cannot_be_read_is_refused(
    at_branch: psycopg.Connection, source: PostgresSource, spoil: str
) -> None:
    run(at_branch, spoil)
    with pytest.raises(BranchRefused, match=r"KC001.*pengiriman cannot be read"):
        deliveries(source)


@pytest.mark.parametrize(
    "changes",
    [{"password": "salah-sekali"}, {"login": "siapa"}, {"schema": "tiada"}, {"password": ""}]
    + [{"extra": {"sslmode": mode}} for mode in ("require", "verify-full", "tidak")],
)
def test_a_login_that_is_refused_is_reported_without_its_secrets(
    database: server.Server, changes: dict[str, Any]
) -> None:
    with visiting(database, **changes) as source, pytest.raises(BranchRefused, match="'db_kc001'") as refused:
        deliveries(source)
    assert not {PASSWORD, "salah-sekali", "siapa"} & set(str(refused.value).replace("'", " ").split())


@pytest.mark.parametrize("field", ["host", "login", "schema"])
def test_a_connection_that_lacks_something_is_refused(database: server.Server, field: str) -> None:
    with pytest.raises(BranchRefused, match=field):
        PostgresSource(KC001, connection(database, **{field: ""}))


def test_a_server_that_takes_no_more_is_unavailable(database: server.Server, at_branch: psycopg.Connection) -> None:
    at_branch.execute(f"alter role {LOGIN} connection limit 0")
    try:
        with visiting(database) as source, pytest.raises(BranchUnavailable, match="cannot be reached"):
            deliveries(source)
    finally:
        at_branch.execute(f"alter role {LOGIN} connection limit -1")


# --- time, and breaking off ---


def test_a_branch_where_nothing_listens_is_unavailable(database: server.Server) -> None:
    with (
        visiting(database, port=server.free_port()) as source,
        pytest.raises(BranchUnavailable, match=r"KC001 at 127\.0\.0\.1, database cabang cannot be reached"),
    ):
        deliveries(source)


def test_a_port_that_answers_nothing_is_left_after_its_time(database: server.Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        began = time.monotonic()
        with visiting(database, port=mute.getsockname()[1]) as source, pytest.raises(BranchTimeout, match="2 s"):
            deliveries(source)
        assert time.monotonic() - began < 4


def test_a_statement_that_takes_too_long_is_ended(
    at_branch: psycopg.Connection, source: PostgresSource, target: Path
) -> None:
    at_branch.execute("drop table ekspor.iuran")
    at_branch.execute(
        "create view ekspor.iuran as select date '2023-12-11' as tgl_data, 1 as revisi, pg_sleep(30)::text as id_bayar"
    )
    at_branch.execute(f"grant select on ekspor.iuran to {LOGIN}")
    announce(at_branch, "iuran", 1)
    began = time.monotonic()
    with pytest.raises(BranchTimeout, match="KC001"):
        fetched(source, target, "iuran")
    assert time.monotonic() - began < 3
    assert at_branch.execute(
        "select count(*) from pg_stat_activity where query ~ 'FETCH' and state = 'active' and pid <> pg_backend_pid()"
    ).fetchall() == [(0,)]


def test_a_lock_is_not_waited_for_for_ever(at_branch: psycopg.Connection, source: PostgresSource, target: Path) -> None:
    put(at_branch, "iuran", [{}])
    (manifest,) = source.manifests(Wanted(DAY, DAY))
    delivery = manifest.read()
    with at_branch.transaction():
        at_branch.execute("lock table ekspor.iuran in access exclusive mode")
        with pytest.raises(BranchTimeout, match="KC001"):
            source.fetch(delivery, delivery.entries[0], target)


def test_a_branch_is_not_blocked_for_ever_by_a_visit_that_lingers(
    at_branch: psycopg.Connection, database: server.Server, target: Path
) -> None:
    put(at_branch, "iuran", [{}, {"id_bayar": "P-2"}])
    with visiting(database, limits=Limits(idle=0.2)) as source:
        (delivery,) = deliveries(source)
        source.fetch(delivery, delivery.entries[0], target)
        at_branch.execute("drop table ekspor.iuran")
        with pytest.raises(BranchUnavailable, match="broke off"):
            source.fetch(delivery, delivery.entries[0], target)


def test_a_connection_that_is_cut_is_reported(
    at_branch: psycopg.Connection, database: server.Server, source: PostgresSource, target: Path
) -> None:
    put(at_branch, "iuran", [{}])
    (delivery,) = deliveries(source)
    at_branch.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = %s", [LOGIN])
    with pytest.raises(BranchUnavailable, match="broke off"):
        source.fetch(delivery, delivery.entries[0], target)
    source.close()
    with visiting(database) as another:
        assert len(fetched(another, target, "iuran")) == 1


@contextmanager
def frozen_on(port: int, sign: bytes) -> Iterator[int]:
    """A port before the server's, which passes everything on until the client says `sign`, and nothing after it."""
    listening = socket.create_server(("127.0.0.1", 0))
    frozen = threading.Event()
    sockets: list[socket.socket] = []

    def pass_on(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(65536):
                if sign in content:
                    frozen.set()
                if not frozen.is_set():
                    sink.sendall(content)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                to_server = socket.create_connection(("127.0.0.1", port))
                sockets.extend((client, to_server))
                for pair in ((client, to_server), (to_server, client)):
                    threading.Thread(target=pass_on, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        for opened in (listening, *sockets):
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()


@pytest.mark.parametrize("sign", [b"set_config", b"ekspor.pengiriman", b"FETCH"])
def test_a_server_that_freezes_is_left_after_its_time(
    at_branch: psycopg.Connection, database: server.Server, target: Path, sign: bytes
) -> None:
    put(at_branch, "iuran", [{}])
    with frozen_on(database.port, sign) as port, visiting(database, port=port) as source:
        began = time.monotonic()
        with pytest.raises(BranchTimeout, match="KC001"):
            fetched(source, target, "iuran")
        assert time.monotonic() - began < 3


# --- whole visits ---


@pytest.fixture
def by_file(warehouse: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What the same rows come to when they are sent as files; the warehouse is empty again."""
    deliver(tmp_path / "branches", ROWS)
    pull_by(open_source(KC001, tmp_path / "branches"), KC001, monkeypatch)
    came = loaded()
    empty_warehouse()
    return came


Visit = Callable[[], Any]


@pytest.fixture
def visit(database: server.Server, monkeypatch: pytest.MonkeyPatch) -> Visit:
    return lambda: pull_by(PostgresSource(KC001, connection(database)), KC001, monkeypatch)


def offer(conn: psycopg.Connection) -> None:
    for feed, rows in ROWS.items():
        put(conn, feed, rows)


def test_a_visit_brings_what_the_same_rows_as_files_bring(
    by_file: dict[str, list[Any]], at_branch: psycopg.Connection, visit: Visit
) -> None:
    offer(at_branch)
    report = visit()
    assert (report.loaded, report.rejected, report.rows) == (3, 0, 8)
    assert loaded() == by_file
    assert len(by_file["raw.registrations"]) == 3
    again = visit()
    assert (again.outcome, again.notes) == ("nothing_new", [])
    # The server may take a moment to see that a visitor has hung up.
    deadline = time.monotonic() + 10
    while at_branch.execute("select from pg_stat_activity where usename = %s", [LOGIN]).fetchall():
        assert time.monotonic() < deadline, "a visit left its connection open"
        time.sleep(0.05)


def test_a_revision_replaces_its_slice_alone(
    by_file: dict[str, list[Any]], at_branch: psycopg.Connection, visit: Visit
) -> None:
    offer(at_branch)
    visit()
    put(at_branch, "iuran", [{}], revision=2, sent_at="2023-12-12 00:31:00")
    report = visit()
    assert (report.loaded, report.notes) == (1, [])
    after = loaded()
    assert [(*row[:3], row[-1]) for row in after["ops.slice"]] == [
        ("iuran", 1, "superseded", datetime(2023, 12, 11, 12, 2, 11, tzinfo=UTC)),
        ("iuran", 2, "loaded", datetime(2023, 12, 11, 17, 31, tzinfo=UTC)),
        ("kegiatan", 1, "loaded", datetime(2023, 12, 11, 12, 2, 11, tzinfo=UTC)),
        ("pendaftaran", 1, "loaded", datetime(2023, 12, 11, 12, 2, 11, tzinfo=UTC)),
    ]
    assert after["raw.registrations"] == by_file["raw.registrations"]


def test_a_rejected_slice_leaves_the_others_and_is_taken_when_fixed(
    by_file: dict[str, list[Any]], at_branch: psycopg.Connection, visit: Visit
) -> None:
    offer(at_branch)
    at_branch.execute("update ekspor.pengiriman set jumlah_baris = 9 where umpan = 'iuran'")
    report = visit()
    assert (report.loaded, report.rejected) == (2, 1)
    assert loaded()["ops.slice"][0][:7] == ("iuran", 1, "rejected", "ROW_COUNT", 9, 0, 0)
    at_branch.execute("update ekspor.pengiriman set jumlah_baris = 2 where umpan = 'iuran'")
    assert visit().loaded == 1
    assert loaded() == by_file


def test_the_registry_and_a_connection_are_all_that_it_takes(
    warehouse: str, at_branch: psycopg.Connection, database: server.Server
) -> None:
    offer(at_branch)
    keep_connection("db_kc001", "postgres", **fields(database))
    report = pulled.visit(Branch(branch_id="KC001", kind="postgres", connection="db_kc001"))
    assert (report.kind, report.loaded, report.rejected, report.rows) == ("postgres", 3, 0, 8)
