"""Kind postgres: what is missing, forbidden or broken, and what takes too long."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kkbc.core.errors import BranchRefused, BranchTimeout, BranchUnavailable
from kkbc.intake.sources import Wanted
from kkbc.intake.sources.postgres import Limits, PostgresSource
from kkbc.warehouse import server
from tests.deliveries import TEMPLATE
from tests.intake.sources.branch_database.calls import (
    LOGIN,
    PASSWORD,
    announce,
    connection,
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
    KC001,
    UNTIL,
)


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
