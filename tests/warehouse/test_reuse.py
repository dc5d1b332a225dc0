"""Connections that a thread uses again: the same session, as long as that is sound."""

import threading
from collections.abc import Callable

import psycopg
import pytest

from kkbc.core.settings import get_settings
from kkbc.warehouse import connect
from kkbc.warehouse.reuse import reused


def session(*, autocommit: bool = True) -> int:
    with reused("loader", autocommit=autocommit) as conn:
        return conn.info.backend_pid


def in_a_thread(work: Callable[[], int]) -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def is_there(pid: int) -> bool:
    with connect() as conn:
        return bool(conn.execute("select from pg_stat_activity where pid = %s", [pid]).fetchall())


def wait_till_gone(pid: int) -> None:
    for _ in range(1000):
        if not is_there(pid):
            return
        threading.Event().wait(0.01)
    raise AssertionError(f"session {pid} is still there")


def test_a_thread_uses_its_session_again_and_no_others(warehouse: str) -> None:
    first = session()
    assert session() == first
    assert session(autocommit=False) != first
    with reused("loader", autocommit=True) as outer:
        assert outer.info.backend_pid == first
        assert session() != first


def test_the_session_of_a_thread_ends_with_it(warehouse: str) -> None:
    pid = in_a_thread(session)
    wait_till_gone(pid)
    assert session() != pid


def test_it_is_set_up_once_and_acts_as_its_role(warehouse: str) -> None:
    calls = []

    def set_up(conn: psycopg.Connection) -> None:
        calls.append(conn.info.backend_pid)
        conn.execute("set lock_timeout = '7s'")

    for _ in range(2):
        with reused("auditor", autocommit=True, set_up=set_up) as conn:
            assert conn.execute("select current_user, current_setting('lock_timeout')").fetchall() == [
                ("auditor", "7s")
            ]
    assert len(calls) == 1


def test_after_an_error_or_within_a_transaction_the_session_ends(warehouse: str) -> None:
    first = session()
    with pytest.raises(ZeroDivisionError), reused("loader", autocommit=True):
        _ = 1 / 0
    wait_till_gone(first)
    with reused("loader") as conn:
        conn.execute("select 1")
        left_open = conn.info.backend_pid
    wait_till_gone(left_open)


def test_a_session_that_was_ended_meanwhile_is_replaced(warehouse: str) -> None:
    first = session()
    with connect() as conn:
        conn.execute("select pg_terminate_backend(%s)", [first])
    wait_till_gone(first)
    assert session() != first


def test_another_warehouse_has_sessions_of_its_own(warehouse: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = session()
    monkeypatch.setenv("KKBC_DATABASE_URL", f"{warehouse} connect_timeout=9")
    get_settings.cache_clear()
    assert session() != first
