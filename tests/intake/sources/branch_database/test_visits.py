"""Kind postgres: whole visits."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kkbc.exchange.registry import Branch
from kkbc.intake.sources import open_source
from kkbc.intake.sources.postgres import PostgresSource
from kkbc.warehouse import server
from tests.deliveries import deliver
from tests.intake.sources import pulled
from tests.intake.sources.branch_database.calls import LOGIN, connection, fields, put
from tests.intake.sources.pulled import (
    KC001,
    ROWS,
    empty_warehouse,
    keep_connection,
    loaded,
    pull_by,
)


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
