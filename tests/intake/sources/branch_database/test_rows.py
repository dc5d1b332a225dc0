"""Kind postgres: what is announced, its rows, and the snapshot that they are of."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
import pytest

from kkbc.exchange.slices import Entry
from kkbc.intake.sources import Wanted
from kkbc.intake.sources.postgres import Limits, PostgresSource
from kkbc.warehouse import schema, server
from tests.intake.sources.branch_database.calls import (
    LOGIN,
    announce,
    deliveries,
    fetch,
    fetched,
    put,
    rejection,
    run,
    visiting,
)
from tests.intake.sources.pulled import (
    DAY,
    KC120,
)


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
