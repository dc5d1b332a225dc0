"""A hostile reader: a real login that may read, and what it may try to hold up the others."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from kkbc import nights
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.publishing import publish_marts
from kkbc.publishing.sessions import end_overlong
from kkbc.warehouse import access, connect, locks, server
from kkbc.warehouse.locks import Lock
from tests.publishing.conftest import DAY, change, marts, open_build, publish, read  # noqa: F401 (a fixture)

LOGIN = "kkbc_test_hostile"
CONNECTIONS = 3


@pytest.fixture
def hostile(marts: None, warehouse: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:  # noqa: F811
    """The connection string of a login that may read all of `bi`, in a published warehouse with its limits."""
    monkeypatch.setenv("KKBC_READER_CONNECTIONS", str(CONNECTIONS))
    monkeypatch.setenv("KKBC_READER_PATIENCE_SECONDS", "1")
    get_settings.cache_clear()
    with connect() as conn:
        conn.execute(f"create role {LOGIN} login in role bi")  # type: ignore[arg-type]
        access.apply(conn, server=True)
    publish()
    yield make_conninfo(warehouse, user=LOGIN)
    with connect() as conn:
        conn.execute(f"drop owned by {LOGIN}; drop role {LOGIN}")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "attempt",
    [
        "select pg_advisory_lock(hashtext('kkbc.nights.night'))",
        "select pg_advisory_xact_lock(1, 2)",
        "select pg_try_advisory_lock_shared(1)",
        "lock table locks.night in access share mode",
        "lock table locks.build in share mode",
        "select from locks.named for update",
        "select * from locks.holders('night', null)",
        "lock table bi.kpi_x in row share mode",
        "lock table bi.kpi_x in share mode",
        "select * from bi.kpi_x for share",
        "select readers.end_overlong(0)",
        "select readers.end_blockers(1)",
        "select lo_create(0)",
        "select lo_from_bytea(0, 'x')",
        "select lo_put(1, 0, 'x')",
        "select pg_logical_emit_message(false, 'x', repeat('x', 1000))",
        "select pg_notify('x', 'y')",
        "create temporary table mine (a int)",
        "create temporary sequence mine",
        "create table public.mine (a int)",
        "create schema mine",
        "do $$ begin perform 1; end $$",
        "create function public.mine() returns int language sql as 'select 1'",
        "set temp_file_limit = -1",
        "alter role kkbc_test_hostile connection limit -1",
        "alter database {database} set statement_timeout = 0",
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'kkbc a night'",
        "select pg_cancel_backend(pid) from pg_stat_activity where application_name = 'kkbc a night'",
    ],
)
def test_what_would_hold_others_up_is_refused(hostile: str, attempt: str) -> None:
    with (
        locks.locked(Lock.NIGHT, "a night", role="transformer"),
        psycopg.connect(hostile) as conn,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        conn.execute(attempt.format(database=conn.info.dbname))  # type: ignore[arg-type]


@pytest.mark.parametrize("database", ["postgres", "template1"])
def test_other_databases_are_closed(hostile: str, pg: server.Server, database: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(make_conninfo(pg.conninfo(database), user=LOGIN))


def test_airflows_database_is_closed(hostile: str, pg: server.Server) -> None:
    with psycopg.connect(pg.conninfo(), autocommit=True) as owner:
        owner.execute("create database airflow")
        try:
            with connect() as conn:
                access.apply(conn, server=True)
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                psycopg.connect(make_conninfo(pg.conninfo("airflow"), user=LOGIN))
        finally:
            owner.execute("drop database airflow")


def test_a_login_without_a_role_of_the_warehouse_does_not_come_in(hostile: str, warehouse: str) -> None:
    with connect() as conn:
        conn.execute("create role kkbc_test_stranger login")
    try:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(make_conninfo(warehouse, user="kkbc_test_stranger"))
    finally:
        with connect() as conn:
            conn.execute("drop role kkbc_test_stranger")


def test_connections_and_times_of_a_reader_are_limited(hostile: str) -> None:
    settings = get_settings()
    with ExitStack() as stack:
        conns = [stack.enter_context(psycopg.connect(hostile)) for _ in range(CONNECTIONS)]
        with pytest.raises(psycopg.OperationalError, match="too many connections"):
            psycopg.connect(hostile)
        for name, seconds in (
            ("statement_timeout", settings.reader_statement_seconds),
            ("idle_in_transaction_session_timeout", settings.reader_idle_seconds),
            ("transaction_timeout", settings.reader_transaction_seconds),
        ):
            unit = conns[0].execute("select setting::int / 1000 from pg_settings where name = %s", [name]).fetchone()
            assert unit == (seconds,)
        assert conns[0].execute("show temp_file_limit").fetchone() == (f"{settings.reader_temp_mb // 1024}GB",)
    # The pipeline's own login is under none of them.
    with connect("publisher") as conn:
        for name in ("statement_timeout", "idle_in_transaction_session_timeout", "transaction_timeout", "lock_timeout"):
            assert conn.execute("select setting from pg_settings where name = %s", [name]).fetchone() == ("0",)


def test_a_reader_who_keeps_a_table_does_not_stop_its_new_shape(hostile: str) -> None:
    """Limits that it may set again do not hold it; its session is ended, and those who queue are served after that."""
    change("alter table next.kpi_x add column x int")
    with psycopg.connect(hostile) as reading, psycopg.connect(hostile) as locking:
        for conn in (reading, locking):
            conn.execute("set statement_timeout = 0; set idle_in_transaction_session_timeout = 0")
            conn.execute("set transaction_timeout = 0")
            conn.commit()
        reading.execute("select * from bi.kpi_x")
        locking.execute("lock table bi.kpi_x in access share mode")
        publish()
        for conn in (reading, locking):
            with pytest.raises(psycopg.OperationalError):
                conn.execute("select 1")
    assert read("bi", "select count(x) from bi.kpi_x") == [(0,)]


def test_a_reader_who_keeps_a_table_does_not_stop_its_first_policies(hostile: str) -> None:
    """As after a migration back and forth, which lets them go."""
    with connect() as conn:
        conn.execute(
            "drop policy branches_own_rows on bi.kpi_x; drop policy readers_of_all on bi.kpi_x;"
            " alter table bi.kpi_x disable row level security"
        )
    with psycopg.connect(hostile) as reader:
        reader.execute("select * from bi.kpi_x")
        publish()
        with pytest.raises(psycopg.OperationalError):
            reader.execute("select 1")
    with connect() as conn:
        assert conn.execute("select count(*) from pg_policy where polrelid = 'bi.kpi_x'::regclass").fetchone() == (2,)


def test_readers_who_come_again_and_again_are_too_late(hostile: str) -> None:
    """As many as it may have, each keeping the table and back as soon as it is ended."""
    change("alter table next.kpi_x add column y int")
    over = threading.Event()

    def keep() -> None:
        while not over.is_set():
            try:
                with psycopg.connect(hostile) as conn:
                    conn.execute("set idle_in_transaction_session_timeout = 0")
                    while not over.is_set():
                        conn.execute("select * from bi.kpi_x")
                        over.wait(0.05)
            except psycopg.Error:
                pass

    threads = [threading.Thread(target=keep) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    try:
        publish()
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert read("bi", "select count(y) from bi.kpi_x") == [(0,)]


def test_an_open_snapshot_is_no_matter_to_a_publication_of_the_same_shape(hostile: str) -> None:
    change("update next.kpi_x set aktif = 99")
    with psycopg.connect(hostile) as reader:
        reader.execute("begin isolation level repeatable read; lock table bi.kpi_x in access share mode")
        before = reader.execute("select aktif from bi.kpi_x").fetchall()
        publish()
        assert reader.execute("select aktif from bi.kpi_x").fetchall() == before
    assert read("bi", "select distinct aktif from bi.kpi_x") == [(99,)]


def test_what_lasts_too_long_is_ended_and_the_rest_left_alone(hostile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(hostile) as long, psycopg.connect(hostile, autocommit=True) as idle, connect("bi") as own:
        long.execute("set transaction_timeout = 0; select 1")
        own.execute("select 1")
        assert end_overlong() == 0
        monkeypatch.setenv("KKBC_READER_TRANSACTION_SECONDS", "1")
        get_settings.cache_clear()
        long.execute("select pg_sleep(1.1)")
        assert end_overlong() == 1
        with pytest.raises(psycopg.OperationalError):
            long.execute("select 1")
        idle.execute("select 1")
        own.execute("select 1")


def test_advisory_locks_of_a_reader_hold_up_nothing(hostile: str, pg: server.Server) -> None:
    """Where a server's administrator left the functions open to all, and every name that was ever locked is taken."""
    with connect() as conn:
        conn.execute("grant execute on function pg_advisory_lock(bigint) to public")
    names = ("night", "publish", "open_build", "build", "partitions", "migrate", "pull.KC001")
    with psycopg.connect(hostile, autocommit=True) as holder:
        for name in names:
            holder.execute("select pg_advisory_lock(hashtext(%s))", [f"kkbc.{name}"])
            holder.execute("select pg_advisory_lock(hashtextextended(%s, 0))", [f"kkbc.{name}"])
        holder.execute("select pg_advisory_lock(hashtextextended('iuran/KC001/2023-12-11', 0))")
        with connect("loader") as conn:
            conn.execute("insert into ops.run (run_id, as_of, mode) values ('r', %s, 'plain')", [DAY])
            conn.execute("select ops.ensure_partitions('2031-01-01')")
        waited: list[str] = []
        with nights.one_build(lambda: waited.append("night")):
            build_id = nights.open_build("r")
            with locks.locked_branch("KC001", "a visit", role="loader", seconds=1), connect("loader") as conn:
                locks.take_slices(conn, "KC001")
            with locks.locked(Lock.PUBLISH, "a build", role="transformer", wait=lambda: waited.append("publish")):
                pass
            change("update next.kpi_x set aktif = 98")
            nights.publish(build_id)
        assert waited == []
    assert read("bi", "select distinct aktif from bi.kpi_x") == [(98,)]


def test_queries_of_the_pipeline_are_not_shown_to_readers(hostile: str) -> None:
    with connect("loader") as own, psycopg.connect(hostile) as reader:
        own.execute("select 'a name'")
        shown = reader.execute("select query from pg_stat_activity where pid = %s", [own.info.backend_pid]).fetchall()
    assert shown == [("<insufficient privilege>",)]


def test_a_publication_that_the_pipeline_itself_blocks_ends_nobody(
    hostile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change("alter table next.kpi_x add column z int")
    monkeypatch.setattr("kkbc.publishing.swap.LAST_ATTEMPT", "500ms")
    with connect("bi") as own:
        own.execute("select * from bi.kpi_x")
        with pytest.raises(UserError, match="readers hold"), connect("publisher") as conn:
            publish_marts(conn, build_id=open_build(), as_of=DAY)
        own.execute("select 1")
