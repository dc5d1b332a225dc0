"""Locks of the pipeline: held as long as they should be, waited for no longer, and named."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import psycopg
import pytest

from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.warehouse import connect, locks
from kkbc.warehouse.locks import Lock

HOLDING = """
import sys
from kkbc.warehouse import locks
with locks.locked(locks.Lock.PUBLISH, "the work of another", role="transformer"), \\
        locks.locked_branch("KC001", "a visit of another", role="loader"):
    print("held", flush=True)
    sys.stdin.read()
"""


def is_free(lock: Lock) -> bool:
    with connect("transformer") as conn:
        return locks.take_if_free(conn, lock)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def impatient(warehouse: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_patience", lambda: 0.2)


@pytest.mark.parametrize("lock", [Lock.NIGHT, Lock.PUBLISH, Lock.BUILD])
def test_a_lock_is_held_for_a_block_and_no_longer(warehouse: str, lock: Lock) -> None:
    assert is_free(lock)
    with locks.locked(lock, "work", role="transformer"):
        assert not is_free(lock)
        assert all(is_free(other) for other in (Lock.NIGHT, Lock.PUBLISH, Lock.BUILD) if other != lock)
    assert is_free(lock)
    with pytest.raises(ZeroDivisionError), locks.locked(lock, "work", role="transformer"):
        _ = 1 / 0
    assert is_free(lock)


def test_whoever_waits_too_long_is_told_who_holds_it(impatient: None) -> None:
    with locks.locked(Lock.BUILD, "models of build 17", role="transformer"):
        with connect("loader") as conn, pytest.raises(locks.Busy) as caught:
            locks.take_slices(conn, "KC001")
        with connect() as conn:
            ((pid,),) = conn.execute(
                "select pid from pg_stat_activity where application_name = 'kkbc models of build 17'"
            ).fetchall()
    assert "the lock build or 'slices KC001' was not free within 0.2 s" in caught.value.problem
    assert f"process {pid} (kkbc models of build 17, since " in caught.value.problem
    assert f"pg_terminate_backend({pid})" in caught.value.remedy
    with connect("loader") as conn:
        locks.take_slices(conn, "KC001")


def test_of_a_branch_too(impatient: None) -> None:
    with locks.locked_branch("KC001", "visit of KC001", role="loader"):
        with (
            pytest.raises(
                locks.Busy, match=r"'visit KC001' was not free within 0\.1 s: process \d+ \(kkbc visit of KC001"
            ),
            locks.locked_branch("KC001", "second", role="loader", seconds=0.1),
        ):
            pass
        with locks.locked_branch("KC002", "of another branch", role="loader"):
            pass


def test_loads_of_several_branches_go_side_by_side_and_a_build_waits_for_them(impatient: None) -> None:
    with connect("loader") as one, connect("loader") as two:
        locks.take_slices(one, "KC001")
        locks.take_slices(two, "KC002")
        assert not is_free(Lock.BUILD)
        with connect("loader") as three, pytest.raises(locks.Busy, match="'slices KC001'"):
            locks.take_slices(three, "KC001")
        # Again in the same transaction: held already.
        locks.take_slices(one, "KC001")
    assert is_free(Lock.BUILD)


def test_a_killed_holder_lets_go(warehouse: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    assert not is_free(Lock.PUBLISH)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    wait_for(lambda: is_free(Lock.PUBLISH))
    with locks.locked_branch("KC001", "visit", role="loader", seconds=30):
        pass


def lose_it() -> None:
    with locks.locked(Lock.PUBLISH, "some work", role="transformer"), connect(autocommit=True) as conn:
        conn.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'kkbc some work'")
        wait_for(lambda: is_free(Lock.PUBLISH))


def test_who_lost_a_lock_meanwhile_is_told(warehouse: str) -> None:
    with pytest.raises(UserError, match="the lock for some work was lost meanwhile"):
        lose_it()


def test_a_tables_lock_holds_up_no_vacuum_and_is_under_no_limit_of_the_session(warehouse: str) -> None:
    with connect(autocommit=True) as conn:
        ((database,),) = conn.execute("select current_database()").fetchall()
        for limit in ("idle_in_transaction_session_timeout", "transaction_timeout"):
            conn.execute(psycopg.sql.SQL("alter database {} set {} = '100ms'").format(
                psycopg.sql.Identifier(database), psycopg.sql.SQL(limit)
            ))  # fmt: skip
        with locks.locked(Lock.BUILD, "long work", role="transformer"):
            ((number, snapshot),) = conn.execute(
                "select backend_xid, backend_xmin from pg_stat_activity where application_name = 'kkbc long work'"
            ).fetchall()
            time.sleep(0.3)
            assert not is_free(Lock.BUILD)
    assert (number, snapshot) == (None, None)


def test_who_waits_for_a_lock_is_called_when_it_is_not_free_at_once(warehouse: str) -> None:
    calls: list[str] = []
    inside = threading.Event()

    def second() -> None:
        with locks.locked(Lock.NIGHT, "second", role="transformer", wait=lambda: calls.append("waits")):
            inside.set()

    with locks.locked(Lock.NIGHT, "first", role="transformer", wait=lambda: calls.append("never")):
        thread = threading.Thread(target=second)
        thread.start()
        assert not inside.wait(0.3)
    thread.join(30)
    assert inside.is_set()
    assert calls == ["waits"]


def test_the_limit_of_waiting_is_a_setting(warehouse: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KKBC_LOCK_WAIT_MINUTES", "3")
    get_settings.cache_clear()
    assert locks._patience() == 180
