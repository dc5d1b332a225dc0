"""A warehouse in which one night of a few branches went in every way that there is."""

import os
import tempfile
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from kkbc.core import clock
from kkbc.warehouse import connect

# Airflow makes its folder when it is first imported, so this cannot wait for a fixture.
_folder = tempfile.TemporaryDirectory(prefix="kkbc-airflow-")
os.environ["AIRFLOW_HOME"] = _folder.name

DAY = date(2023, 12, 12)
FEEDS = ("pendaftaran", "iuran", "kegiatan")
ONE_LATE = clock.due_at(DAY) + timedelta(seconds=1)


class Ops:
    """What pulls leave in schema ops."""

    def run(self, run_id: str, as_of: date, mode: str = "airflow", **more: Any) -> None:
        columns = {"run_id": run_id, "as_of": as_of, "mode": mode, **more}
        self._insert("run", columns)

    def branch(self, branch_id: str, **more: Any) -> None:
        row = {"branch_id": branch_id, "kind": "file", "timezone": "Asia/Jakarta", "tier": 1}
        self._insert("branch", {**row, **more})

    def visit(self, run_id: str, branch_id: str, outcome: str = "loaded", **more: Any) -> None:
        at = datetime(2023, 12, 13, 0, 35, tzinfo=clock.JAKARTA)
        row = {"run_id": run_id, "branch_id": branch_id, "kind": "file", "started_at": at, "outcome": outcome}
        self._insert("attempt", {**row, "finished_at": at + timedelta(seconds=2), **more})

    def slices(
        self, branch_id: str, status: str = "loaded", feeds: Sequence[str] = FEEDS, day: date = DAY, **more: Any
    ) -> None:
        for feed in feeds:
            row = {"feed": feed, "branch_id": branch_id, "business_date": day, "revision": 1, "status": status}
            rows = {"rows_sent": 10, "rows_accepted": 9, "rows_quarantined": 1}
            if status == "rejected":
                rows = {"reason": "CHECKSUM"}
            self._insert("slice", {**row, "manifest_sha256": "", "sent_at": clock.due_at(day), **rows, **more})

    def held(self, branch_id: str, *reasons: str, **more: Any) -> None:
        self.slices(branch_id, "held", **more)
        with connect() as conn:
            conn.execute(
                "with b as (insert into ops.build (as_of, first_business_date) values (%(day)s, %(day)s) returning *)"
                " insert into ops.hold (feed, branch_id, business_date, revision, build_id, reasons)"
                " select feed, branch_id, business_date, revision, b.build_id, %(reasons)s from ops.slice, b"
                " where status = 'held' and branch_id = %(branch_id)s",
                {"day": DAY, "branch_id": branch_id, "reasons": list(reasons)},
            )

    def publication(self, as_of: date, published_at: datetime, restores: int | None = None) -> None:
        with connect() as conn:
            conn.execute(
                "with b as (insert into ops.build (as_of, first_business_date) values (%(day)s, %(day)s) returning *)"
                " insert into ops.publication (build_id, as_of, published_at, tables, restores, why)"
                " select build_id, as_of, %(at)s, '{}', %(to)s::bigint,"
                " case when %(to)s::bigint > 0 then 'wrong' end from b",
                {"day": as_of, "at": published_at, "to": restores},
            )

    def _insert(self, table: str, row: dict[str, Any]) -> None:
        columns, places = ", ".join(row), ", ".join(f"%({name})s" for name in row)
        with connect() as conn:
            conn.execute(f"insert into ops.{table} ({columns}) values ({places})", row)


@pytest.fixture
def ops(warehouse: str) -> Ops:
    """A warehouse in which nothing was run yet, and what may happen in it."""
    return Ops()


@pytest.fixture
def night_of_all_kinds(ops: Ops) -> Ops:
    """A branch in every state on DAY, the night before quiet; KC009 opens later."""
    ops.run("first", DAY - timedelta(days=1))
    ops.run("night", DAY, source_root="/srv/branches", alert="3 of 8 branches could not be pulled")
    for number in range(1, 9):
        ops.branch(f"KC00{number}")
        ops.slices(f"KC00{number}", day=DAY - timedelta(days=1))
        ops.visit("night", f"KC00{number}")
    ops.branch("KC009", active_from=DAY + timedelta(days=1))
    ops.slices("KC001")
    ops.slices("KC002", sent_at=ONE_LATE)
    ops.visit("night", "KC003", "failed", reason="BranchUnavailable: <b>nobody</b> listens")
    ops.held("KC004", "ten times the rows of a Tuesday", rows_sent=100, rows_accepted=20, rows_quarantined=80)
    ops.slices("KC005", "rejected")
    ops.slices("KC006", feeds=FEEDS[:2])
    ops.slices("KC007", rows_sent=0, rows_accepted=0, rows_quarantined=0)
    ops.slices("KC008", "superseded")
    ops.slices("KC008", revision=2, sent_at=ONE_LATE, rows_sent=12, rows_accepted=12, rows_quarantined=0)
    return ops
