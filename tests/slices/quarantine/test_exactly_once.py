"""A retry is whole or not at all, whoever else is at work on the slice, and leaves alone what is not to be retried."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kkbc.core.errors import UserError
from kkbc.slices import AuditNote
from kkbc.slices.quarantine import RetryReport, Selection, resolve
from kkbc.warehouse import connect, conninfo, locks
from kkbc.warehouse.locks import Lock
from tests.deliveries import deliver
from tests.slices.quarantine.scene import (
    DAY,
    NEW,
    Office,
    Rules,
    accepted,
    counts,
    events,
    fingerprint,
    quarantined,
    query,
    retry_now,
    state,
    sums,
    versions,
)

PLACE = "pendaftaran/KC001/2023-12-11"


def resolve_now(selection: Selection, **more: Any) -> int:
    with connect("loader", autocommit=True) as conn:
        return resolve(conn, selection, AuditNote("a test entry", "a tester"), **more)


class Background(threading.Thread):
    """Does something while the test runs; `result` gives what came of it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self.work = work
        self.done: list[Any] = []
        self.start()

    def run(self) -> None:
        self.done.append(self.work())

    def result(self) -> Any:
        self.join(30)
        assert self.done
        return self.done[0]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def waiting(what: str = "query like '%lock table locks.build in share mode%'") -> int:
    """Sessions of this warehouse that wait: for the lock of a build or of a branch's slices, or for something else."""
    ((sessions,),) = query(
        "select count(*) from pg_stat_activity where datname = current_database()"
        f" and wait_event_type = 'Lock' and {what}"
    )
    return int(sessions)


# ---------------------------------------------------------------------------------------------------------------------
# Revisions
# ---------------------------------------------------------------------------------------------------------------------
def test_a_revision_closes_what_is_open_of_the_earlier_one_also_after_a_retry(office: Office, rules: Rules) -> None:
    office.sends({**NEW}, {"no_pendaftaran": "R-2", "nik": "1"})
    rules.correct()
    assert sums(retry_now()) == (2, 1, 0, 0)
    office.sends({"no_pendaftaran": "R-9"}, {"no_pendaftaran": "R-8", "nik": "2"}, revision=2)
    assert accepted() == [("R-9", 2)]
    assert query("select count(*) from vault.registrations") == [(1,)]
    assert query("select revision, line, closed_as from ops.quarantine order by 1, 2") == [
        (1, 2, "accepted"),
        (1, 3, "superseded"),
        (2, 3, None),
    ]
    # What is closed by a revision is not judged any more.
    assert sums(retry_now()) == (1, 0, 0, 0)
    assert counts() == [(2, 1, 1, 0, 1, 1)]


def test_a_rejected_revision_is_no_matter_of_the_quarantine(office: Office, rules: Rules) -> None:
    office.sends({**NEW})
    folder = deliver(office.root, {"pendaftaran": [{**NEW}]}, revision=2)
    (folder / "pendaftaran.r2.csv").write_bytes(b"cut off")
    office.pull()
    rules.correct()
    assert sums(retry_now()) == (1, 1, 0, 0)
    assert query("select _revision from raw.registrations") == [(1,)]


def test_a_revision_that_comes_while_rows_are_judged_wins(office: Office, rules: Rules) -> None:
    office.sends({**NEW})
    rules.correct()
    deliver(office.root, {"pendaftaran": [{"no_pendaftaran": "R-9"}]}, revision=2)
    with psycopg.connect(conninfo()) as gate:
        locks.take_slices(gate, "KC001")
        # Both read and judge, then queue for the slice: first the pull, then the retry.
        pull = Background(office.pull)
        wait_for(lambda: waiting() == 1)
        retried = Background(retry_now)
        wait_for(lambda: waiting() == 2)
    pull.join(30)
    assert sums(retried.result()) == (0, 0, 0, 0)
    assert accepted() == [("R-9", 2)]
    assert quarantined() == [(2, ["CODE_UNKNOWN"], "superseded")]
    assert events() == []


# ---------------------------------------------------------------------------------------------------------------------
# Others at work
# ---------------------------------------------------------------------------------------------------------------------
def test_of_two_retries_at_once_one_does_the_work(office: Office, rules: Rules) -> None:
    office.sends({**NEW}, {"no_pendaftaran": "R-2", **NEW})
    rules.correct()
    with psycopg.connect(conninfo()) as gate:
        locks.take_slices(gate, "KC001")
        both = [Background(retry_now), Background(retry_now)]
        wait_for(lambda: waiting() == 2)
    assert sorted(sums(retried.result()) for retried in both) == [(0, 0, 0, 0), (2, 2, 0, 0)]
    assert accepted() == [("R-1", 2), ("R-2", 3)]
    assert [event for _, event, *_ in events()] == ["accepted", "accepted"]


def test_a_retry_waits_for_a_build_that_is_reading(office: Office, rules: Rules) -> None:
    office.sends({**NEW})
    rules.correct()
    with psycopg.connect(conninfo()) as build:
        locks.take(build, Lock.BUILD)
        retried = Background(retry_now)
        wait_for(lambda: waiting() == 1)
        assert accepted() == []
    assert sums(retried.result()) == (1, 1, 0, 0)


def test_a_row_that_is_resolved_while_it_is_judged_stays_resolved(office: Office, rules: Rules) -> None:
    office.sends({**NEW}, {"no_pendaftaran": "R-2", **NEW})
    rules.correct()
    with psycopg.connect(conninfo()) as gate:
        locks.take_slices(gate, "KC001")
        retried = Background(retry_now)
        wait_for(lambda: waiting() == 1)
        assert resolve_now(Selection(line=2)) == 1
    assert sums(retried.result()) == (1, 1, 0, 0)
    assert accepted() == [("R-2", 3)]
    assert quarantined() == [(2, ["CODE_UNKNOWN"], "resolved"), (3, ["CODE_UNKNOWN"], "accepted")]


RETRY = """
from kkbc.slices import AuditNote
from kkbc.slices.quarantine import Selection, retry
from kkbc.warehouse import connect
with connect("loader", autocommit=True) as conn:
    retry(conn, Selection(), AuditNote("channel added", "a tester"))
"""


def test_a_retry_that_is_killed_in_the_middle_changes_nothing(office: Office, rules: Rules) -> None:
    office.sends({"diubah_pada": "2023-12-11 08:00"}, {**NEW}, {"no_pendaftaran": "R-3", "nik": "1", **NEW})
    rules.correct()
    before = versions()
    with psycopg.connect(conninfo()) as holder:
        # The slice's row is the last thing that a retry writes: by then all others are written, and not committed.
        holder.execute("select from ops.slice for update")
        process = subprocess.Popen([sys.executable, "-c", RETRY], env=dict(os.environ))
        wait_for(lambda: waiting("wait_event = 'transactionid'") == 1)
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
        query(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and wait_event = 'transactionid'"
        )
    wait_for(lambda: waiting("wait_event = 'transactionid'") == 0)
    assert versions() == before
    assert sums(retry_now()) == (2, 1, 1, 1)
    assert accepted() == [("R-1", 3)]
    assert counts() == [(3, 1, 2, 0, 2, 1)]


# ---------------------------------------------------------------------------------------------------------------------
# Landed files that are not what they were
# ---------------------------------------------------------------------------------------------------------------------
def landed_file() -> Path:
    ((uri,),) = query("select landed_uri from ops.slice where feed = 'pendaftaran' order by business_date limit 1")
    return Path(uri.removeprefix("file://")) / "sent" / "pendaftaran.csv"


def message(report: RetryReport) -> str:
    (failure,) = report.failed.items()
    return ": ".join(failure)


def test_a_landed_file_that_is_gone_is_named_and_stops_no_other_slice(office: Office, rules: Rules) -> None:
    office.sends({**NEW})
    office.sends({"id_bayar": "P-1", "nik": "1"}, feed="iuran", revision=2)
    rules.correct()
    landed_file().unlink()
    before = state()
    report = retry_now()
    assert message(report).startswith(f"{PLACE}/r1: landing folder ")
    assert "does not hold pendaftaran.csv: restore landing from its backup" in message(report)
    assert [(str(done.slice), done.judged) for done in report.slices] == [("iuran/KC001/2023-12-11/r2", 1)]
    assert state() == before


def test_a_landed_file_that_was_altered_is_not_believed(office: Office, rules: Rules) -> None:
    office.sends({**NEW})
    rules.correct()
    landed_file().write_text(landed_file().read_text().replace("R-1", "R-2"))
    assert message(retry_now()) == (
        f"{PLACE}/r1: the landed file of {PLACE}/r1 is not the one that was loaded: restore landing from its backup"
    )
    assert accepted() == []


def test_a_file_that_is_read_as_other_rows_today_is_left_alone(office: Office, rules: Rules) -> None:
    """As when the reader was corrected: a row that it had never seen must not come in by the back door, or be lost."""
    office.sends({**NEW}, {"no_pendaftaran": "R-2"})
    rules.correct()
    content = landed_file().read_bytes() + landed_file().read_bytes().splitlines(keepends=True)[-1]
    landed_file().write_bytes(content)
    query(f"update ops.slice set sha256 = '{fingerprint(content)['sha256']}' returning 1")
    assert message(retry_now()) == (
        f"{PLACE}/r1: ROW_COUNT: 2 rows were loaded, today the file is read as 3: ask the branch for a revision"
    )
    assert accepted() == [("R-2", 3)]


# ---------------------------------------------------------------------------------------------------------------------
# Which rows
# ---------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("selection", "lines"),
    [
        (Selection(code="NIK_FORMAT"), [4]),
        (Selection(code="AGE_RANGE"), []),
        (Selection(line=2), [2]),
        (Selection(branch="KC001", feed="pendaftaran", since=DAY, until=DAY), [2, 3, 4]),
        (Selection(branch="KC002"), []),
        (Selection(feed="iuran"), []),
        (Selection(until=DAY.replace(day=10)), []),
        (Selection(since=DAY.replace(day=12)), []),
    ],
)
def test_filters_say_which_rows_are_judged(
    office: Office, rules: Rules, selection: Selection, lines: list[int]
) -> None:
    niks = ["1171011203909001", "1171011203909001", "1"]
    office.sends(*({"no_pendaftaran": f"R-{i}", "nik": nik, **NEW} for i, nik in enumerate(niks)))
    rules.correct()
    report = retry_now(selection)
    assert report.summary()["judged"] == len(lines)
    assert [line for _, line in accepted()] == [line for line in lines if line != 4]


def test_resolved_rows_are_not_judged_and_go_on_being_counted(office: Office, rules: Rules) -> None:
    office.sends({**NEW}, {"no_pendaftaran": "R-2", **NEW}, {"no_pendaftaran": "R-3", "nik": "1"})
    before = counts()
    assert resolve_now(Selection(line=2), dry_run=True) == 1
    assert quarantined()[0] == (2, ["CODE_UNKNOWN"], None)
    assert resolve_now(Selection(code="NIK_FORMAT")) == 1
    assert resolve_now(Selection(line=2)) == 1
    assert resolve_now(Selection(line=2)) == 0
    assert counts() == before
    rules.correct()
    assert sums(retry_now()) == (1, 1, 0, 0)
    assert quarantined() == [
        (2, ["CODE_UNKNOWN"], "resolved"),
        (3, ["CODE_UNKNOWN"], "accepted"),
        (4, ["NIK_FORMAT"], "resolved"),
    ]
    assert counts() == [(3, 1, 2, 0, 2, 1)]
    assert events()[:2] == [
        (4, "resolved", ["NIK_FORMAT"], ["NIK_FORMAT"]),
        (2, "resolved", ["CODE_UNKNOWN"], ["CODE_UNKNOWN"]),
    ]


def test_a_reason_is_asked_for() -> None:
    for nothing in ("", "  "):
        with pytest.raises(UserError, match="no reason is given: say why"):
            AuditNote(nothing, "a tester")


def test_another_key_than_the_warehouses_is_refused(office: Office, rules: Rules, home: Path) -> None:
    office.sends({**NEW})
    rules.correct()
    (home / "keys" / "pii.key").write_text("cd" * 32)
    with pytest.raises(UserError, match="not the one that this warehouse was loaded with"):
        retry_now()
    assert accepted() == []


def test_a_broken_contract_is_named_before_anything_is_read(office: Office, rules: Rules) -> None:
    office.sends({**NEW})
    rules.change("contracts/kegiatan.odcs.yaml", "check: not_before,", "check: not_beforee,")
    with pytest.raises(UserError, match="unknown check 'not_beforee'"):
        retry_now()
