"""What is reported of one branch."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from kkbc import nights
from kkbc.core import tokens
from kkbc.core.errors import UserError
from kkbc.nights import RunRequest
from kkbc.warehouse import connect
from kkbc.watching import branch
from tests.deliveries import deliver

DAY = date(2023, 12, 11)


def test_what_a_branch_offers_is_listed_and_nothing_is_taken(warehouse: str, home: Path, tmp_path: Path) -> None:
    deliver(tmp_path, {"pendaftaran": [{}, {}], "kegiatan": []}, day=DAY)
    deliver(tmp_path, {"pendaftaran": [{}]}, day=DAY, revision=2)
    deliver(tmp_path, {"iuran": [{}]}, day=date(2023, 11, 1))
    offered = branch.offered("KC001", source_root=tmp_path)
    assert [(d.business_date, d.revision, [(e.feed, e.rows) for e in d.entries]) for d in offered] == [
        (DAY, 1, [("pendaftaran", 2), ("kegiatan", 0)]),
        (DAY, 2, [("pendaftaran", 1)]),
    ]
    with connect() as conn:
        assert conn.execute("select count(*) from ops.slice").fetchone() == (0,)


def test_a_branch_that_the_registry_does_not_know_is_named() -> None:
    with pytest.raises(UserError, match="branch 'KC999' is not in the registry"):
        branch.offered("KC999")


def test_visits_and_deliveries(warehouse: str, home: Path, tmp_path: Path) -> None:
    tokens.ensure_key(home)
    folder = deliver(tmp_path, {"pendaftaran": [{}], "iuran": [{}]}, day=DAY)
    (folder / "iuran.csv").unlink()
    nights.open_run(RunRequest(DAY, tmp_path), mode="plain", run_id="r")
    nights.pull_branch("r", "KC001")
    with connect() as conn:
        for minute, outcome in ((1, "failed"), (2, "killed")):
            conn.execute(
                "insert into ops.attempt (run_id, branch_id, kind, started_at, finished_at, outcome)"
                " values ('r', 'KC001', 'sftp', %s, now(), %s)",
                [datetime(2099, 1, 1, 0, minute, tzinfo=UTC), outcome],
            )
    known = branch.report("KC001")
    assert known.failing_since == datetime(2099, 1, 1, 0, 1, tzinfo=UTC)
    assert [(v["kind"], v["outcome"], v["slices"]) for v in known.attempts] == [
        ("sftp", "killed", 0),
        ("sftp", "failed", 0),
        ("file", "loaded", 2),
    ]
    assert [(s["feed"], s["status"], s["reason"], s["rows_sent"]) for s in known.slices] == [
        ("iuran", "rejected", "FILE_MISSING", 0),
        ("pendaftaran", "loaded", None, 1),
    ]
    assert known.as_json()["failing_since"] == "2099-01-01T00:01:00+00:00"
    assert branch.report("KC002").failing_since is None
