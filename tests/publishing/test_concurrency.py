"""Readers while marts are published: all of the old or all of the new, no error, and no lock that they feel.

Every mart holds the number of the publication that it is of, so that a reader can tell a mixture.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.publishing import PublishedModel, publish_marts, roll_back, swap
from kkbc.warehouse import connect

from .conftest import DAY, change, open_build, publish, publishes, read, undo

MARTS = [PublishedModel(f"kpi_{letter}", "bi", ("branch_id",)) for letter in "abcd"]
STAMPS = " union all ".join(f"select '{m.name}', stamp from {m.table}" for m in MARTS)
PUBLICATIONS = 50


@pytest.fixture
def stamped(warehouse: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four marts of 122 branches that are of publication 1, and published."""
    publishes(monkeypatch, *MARTS)
    for mart in MARTS:
        change(
            f"create table next.{mart.name} (branch_id text not null, stamp bigint not null)",
            f"insert into next.{mart.name} select 'KC' || n, 1 from generate_series(1, 122) n",
        )
    publish()


def stamp(number: int) -> None:
    """Builds what publication `number` is to hold."""
    change(*(f"update next.{mart.name} set stamp = {number}" for mart in MARTS))


def in_one_statement(conn: psycopg.Connection) -> set[int]:
    """The publications that a fresh reader sees anything of."""
    rows = conn.execute(
        f"select stamp from ({STAMPS}) as marts (mart, stamp) union select publication_id from bi.publication"  # type: ignore[arg-type]
        " union select publication_id from bi.publication_table"
    ).fetchall()
    return {number for (number,) in rows}


def in_one_transaction(conn: psycopg.Connection) -> set[int]:
    """The publications that a reader in a transaction sees anything of, table after table."""
    seen = set()
    with conn.transaction():
        conn.execute("set transaction isolation level repeatable read")
        for table, column in [(mart.table, "stamp") for mart in MARTS] + [("bi.publication", "publication_id")]:
            seen |= {number for (number,) in conn.execute(f"select {column} from {table}").fetchall()}  # type: ignore[arg-type]
    return seen


class Reader(threading.Thread):
    """Looks again and again, as role bi, until it is told to stop."""

    def __init__(self, look: Callable[[psycopg.Connection], set[int]]) -> None:
        super().__init__()
        self.look = look
        self.enough = threading.Event()
        self.seen: list[set[int]] = []
        self.error: Exception | None = None

    def run(self) -> None:
        """Until it is enough, or an error."""
        try:
            with connect("bi", autocommit=True) as conn:
                while not self.enough.is_set():
                    self.seen.append(self.look(conn))
                    self.enough.wait(0.005)
        except Exception as error:
            self.error = error


@contextmanager
def reading() -> Iterator[list[Reader]]:
    """Two readers of each kind, for as long as the block."""
    readers = [Reader(look) for look in (in_one_statement, in_one_transaction) * 2]
    for reader in readers:
        reader.start()
    try:
        yield readers
    finally:
        for reader in readers:
            reader.enough.set()
            reader.join()


def test_readers_see_all_of_one_publication_during_fifty(stamped: None) -> None:
    with reading() as readers:
        for number in range(2, PUBLICATIONS + 2):
            stamp(number)
            assert publish().publication_id == number
    for reader in readers:
        assert reader.error is None
        assert {len(seen) for seen in reader.seen} == {1}
        order = [number for (number,) in reader.seen]
        assert order == sorted(order)
        # They were there while it happened, and not before or after it only.
        assert len(set(order)) > 5


def test_readers_see_all_of_one_publication_during_rollbacks(stamped: None) -> None:
    """What is in the marts is then of the publication that was gone back to, and bi.publication names that one too."""
    for number in (2, 3):
        stamp(number)
        publish()

    def restored(conn: psycopg.Connection) -> set[int]:
        rows = conn.execute(
            f"select stamp from ({STAMPS}) as marts (mart, stamp)"  # type: ignore[arg-type]
            " union select coalesce(restores, publication_id) from bi.publication"
        ).fetchall()
        return {number for (number,) in rows}

    reader = Reader(restored)
    reader.start()
    for target in (1, 3, 2, 1, 2, 3) * 2:
        undo(target)
    reader.enough.set()
    reader.join()
    assert reader.error is None
    assert {len(seen) for seen in reader.seen} == {1}


def strong_locks(conn: psycopg.Connection) -> list[str]:
    """Locks of a transaction that keep readers out of a table that they see."""
    rows = conn.execute(
        "select c.oid::regclass::text from pg_locks l join pg_class c on c.oid = l.relation"
        " where l.pid = pg_backend_pid() and l.mode = 'AccessExclusiveLock'"
        " and c.relnamespace in ('bi'::regnamespace, 'bi_detail'::regnamespace, 'ops'::regnamespace) order by 1"
    ).fetchall()
    return [table for (table,) in rows]


def test_no_lock_keeps_readers_out_while_shapes_stay(stamped: None) -> None:
    stamp(2)
    change("comment on table next.kpi_a is 'in other words'")
    with connect("publisher") as conn:
        publish_marts(conn, build_id=open_build(), as_of=DAY)
        assert strong_locks(conn) == []
        assert read("bi", "select distinct stamp from bi.kpi_a") == [(1,)]
    stamp(3)
    publish()
    with connect("publisher") as conn:
        roll_back(conn, why="wrong figures", who="tester")
        assert strong_locks(conn) == []


def test_of_a_changed_shape_that_table_alone_is_kept_from_readers(stamped: None) -> None:
    stamp(2)
    change("alter table next.kpi_b add column x int")
    with connect("publisher") as conn:
        publish_marts(conn, build_id=open_build(), as_of=DAY)
        # The old table, moved out of sight, its index gone, and the new one under its name.
        assert {lock.split(".")[-1] for lock in strong_locks(conn)} <= {"kpi_b", "kpi_b_pkey"}
        assert read("bi", "select distinct stamp from bi.kpi_a") == [(1,)]
    assert read("bi", "select distinct stamp, x from bi.kpi_b") == [(2, None)]


def test_readers_get_no_error_while_shapes_change(stamped: None) -> None:
    """A fresh reader that waited sees the new table; one in a snapshot from before finds it empty."""
    with reading() as readers:
        for number in range(2, 12):
            stamp(number)
            change(f"alter table next.kpi_b add column x{number} int")
            publish()
    for reader in readers:
        assert reader.error is None
        assert {len(seen) for seen in reader.seen} == {1}


def test_a_superuser_who_keeps_a_table_of_a_new_shape_stops_the_publication(
    stamped: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KKBC_READER_PATIENCE_SECONDS", "1")
    get_settings.cache_clear()
    monkeypatch.setattr(swap, "LAST_ATTEMPT", "500ms")
    stamp(2)
    change("alter table next.kpi_b add column x int")
    with connect("bi") as reader:
        reader.execute("select * from bi.kpi_b")
        with pytest.raises(UserError, match=r'readers hold "bi"\."kpi_b", of which one has a new shape'):
            publish()
        # Those who come meanwhile are let in.
        assert read("bi", "select distinct stamp from bi.kpi_b") == [(1,)]
    publish()
    assert read("bi", "select distinct stamp from bi.kpi_b") == [(2,)]
