"""A warehouse in which a night went wrong in every way, written there directly: a night of its own would take long."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kkbc.core.settings import get_settings
from kkbc.warehouse import connect

DAY = date(2023, 12, 11)
NIK = "1171011203909001"


def run(statement: str, *values: Any) -> list[Any]:
    """Runs a statement as the owner; returns its rows."""
    with connect() as conn:
        cursor = conn.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []


def a_run(run_id: str, day: date = DAY, outcome: str = "published") -> None:
    """A night that was run."""
    run("insert into ops.run (run_id, as_of, mode, outcome) values (%s, %s, 'plain', %s)", run_id, day, outcome)


def a_build(run_id: str, day: date = DAY, outcome: str = "published") -> int:
    """A build of that night, and its publication."""
    made = run(
        "insert into ops.build (run_id, as_of, first_business_date, outcome) values (%s, %s, %s, %s)"
        " returning build_id",
        run_id,
        day,
        day,
        outcome,
    )
    if outcome == "published":
        publish(made[0][0], day)
    return int(made[0][0])


def publish(build_id: int, day: date = DAY) -> None:
    run("insert into ops.publication (build_id, as_of, tables) values (%s, %s, '{}')", build_id, day)


def a_slice(branch: str, feed: str, status: str = "loaded", sent: str = "2023-12-11T12:00Z", **more: Any) -> None:
    """A slice, with ten rows sent of which two are quarantined when it is loaded."""
    values = {
        "feed": feed,
        "branch_id": branch,
        "business_date": DAY,
        "revision": 1,
        "status": status,
        "sent_at": sent,
        "manifest_sha256": "0",
        **({} if status == "rejected" else {"rows_sent": 10, "rows_accepted": 8, "rows_quarantined": 2}),
        **more,
    }
    names = ", ".join(values)
    run(f"insert into ops.slice ({names}) values ({', '.join(['%s'] * len(values))})", *values.values())


@pytest.fixture
def branches(warehouse: str) -> None:
    for number in range(1, 6):
        run(
            "insert into ops.branch (branch_id, kind, timezone, tier) values (%s, 'file', 'Asia/Jakarta', 1)",
            f"KC{number:03}",
        )
    run("insert into ops.setting (name, value) values ('first_business_date', '2023-12-01')")


@pytest.fixture
def bad_night(branches: None) -> str:
    """KC001 is well, KC002 late, KC003 missing and down, KC004 held, rejected and in part missing, KC005 well."""
    a_run("r")
    for feed in ("pendaftaran", "iuran", "kegiatan"):
        a_slice("KC001", feed)
        a_slice("KC005", feed)
        a_slice("KC002", feed, sent="2023-12-11T20:00Z")
    a_slice("KC004", "pendaftaran", "held")
    a_slice("KC004", "iuran", "rejected", reason="CHECKSUM")
    build_id = a_build("r", outcome="running")
    run(
        "insert into ops.hold (feed, branch_id, business_date, revision, build_id, reasons)"
        " values ('pendaftaran', 'KC004', %s, 1, %s, %s)",
        DAY,
        build_id,
        [f"rows_sent 10 times as usual, like {NIK}"],
    )
    for branch, line, code in (("KC001", 2, "NIK_DATE"), ("KC001", 3, "NIK_FORMAT"), ("KC002", 2, "NIK_FORMAT")):
        run(
            "insert into ops.quarantine (feed, branch_id, business_date, revision, line, errors, load_id)"
            " values ('pendaftaran', %s, %s, 1, %s, %s, 1)",
            branch,
            DAY,
            line,
            [code],
        )
    run(
        "insert into ops.attempt (run_id, branch_id, kind, started_at, finished_at, outcome, reason)"
        " values ('r', 'KC003', 'sftp', now(), now(), 'failed', 'BranchUnavailable: sftp.cabang.example is gone')"
    )
    run("update ops.build set outcome = 'published'")
    publish(build_id)
    return "r"


@pytest.fixture
def channels(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the channels, and the connections that they name."""

    def choose(notify: str, **connections: dict[str, Any]) -> None:
        import json

        path = home / "keys" / "connections.json"
        path.parent.mkdir(exist_ok=True, mode=0o700)
        path.write_text(json.dumps(connections))
        path.chmod(0o600)
        monkeypatch.setenv("KKBC_NOTIFY", notify)
        get_settings.cache_clear()

    return choose
