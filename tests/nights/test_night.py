"""Opening a night: mistakes of the set-up are reported before anything is done, and each run is on record."""

import re
import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from kkbc import nights
from kkbc.core import clock, tokens
from kkbc.core.errors import UserError
from kkbc.core.settings import PROJECT_ROOT, get_settings
from kkbc.exchange.contracts import load_contract
from kkbc.exchange.masking import shown_name
from kkbc.exchange.registry import Branch
from kkbc.nights import RunRequest, plain
from kkbc.nights.attempt import PullReport
from kkbc.nights.prepare import prepare
from kkbc.warehouse import connect

DAY = date(2023, 12, 11)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "branches"
    folder.mkdir()
    return folder


def open_run(root: Path, as_of: date = DAY, **more: Any) -> nights.Run:
    return nights.open_run(RunRequest(as_of, root, **more), mode="plain", run_id=f"run {as_of}")


def runs() -> list[Any]:
    with connect() as conn:
        return conn.execute("select run_id, outcome from ops.run order by started_at").fetchall()


@pytest.fixture
def contracts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the contracts that a test may spoil."""
    folder = tmp_path / "contracts"
    shutil.copytree(PROJECT_ROOT / "contracts", folder)
    monkeypatch.setenv("KKBC_CONTRACTS", str(folder))
    get_settings.cache_clear()
    load_contract.cache_clear()
    yield folder
    load_contract.cache_clear()


def test_a_day_that_is_not_due_yet_is_refused(warehouse: str, home: Path, root: Path) -> None:
    tokens.ensure_key(home)
    latest = clock.latest_due(clock.now())
    assert open_run(root, latest).as_of == latest
    with pytest.raises(UserError, match="is not due yet: the latest that is due by now is"):
        open_run(root, latest + timedelta(days=1))


def test_folders_that_are_not_pulled_are_named(warehouse: str, home: Path, root: Path) -> None:
    tokens.ensure_key(home)
    for name in ("KC001/2023-12-11", "KC002/11-12-2023", "KC999/2023-12-11", "archive"):
        (root / name).mkdir(parents=True)
    assert open_run(root).notes == [
        "folder 'KC002/11-12-2023' is no business date, it is not pulled: name it YYYY-MM-DD",
        "folder 'KC999' has no registry entry, its deliveries are not pulled: add it to config/branches.yml",
        f"folder '{shown_name('archive')}' is no branch, it is not pulled: branches are KC001, KC002, ... and HQ",
    ]


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [
        ("AMOUNT_SUM\n", "AMOUNT_SUMM\n", "AMOUNT_SUMM: no code of the exchange"),
        ("check: nik_format}", "check: nik_formatt}", "unknown check 'nik_formatt'"),
        ("severity: error", "severity: grave", "severity error|warning"),
        ("schema:", "schema: [", "is broken"),
    ],
)
def test_a_broken_contract_stops_the_night_before_it_begins(
    warehouse: str, home: Path, root: Path, contracts: Path, good: str, bad: str, message: str
) -> None:
    tokens.ensure_key(home)
    path = contracts / "iuran.odcs.yaml"
    text = path.read_text()
    assert good in text
    path.write_text(text.replace(good, bad, 1))
    with pytest.raises(UserError) as caught:
        open_run(root)
    assert message in str(caught.value)
    assert "iuran" in str(caught.value)
    assert runs() == []


def test_another_key_than_the_one_of_the_warehouse_is_refused(warehouse: str, home: Path, root: Path) -> None:
    path = tokens.ensure_key(home)
    open_run(root)
    path.write_text("cd" * 32)
    with pytest.raises(UserError, match="not the one that this warehouse was loaded with"):
        open_run(root, DAY + timedelta(days=1))


def test_a_lost_key_is_not_replaced(warehouse: str, home: Path, root: Path) -> None:
    prepare()
    open_run(root)
    path = home / "keys" / tokens.KEY_FILE
    path.unlink()
    with pytest.raises(UserError, match="is gone, and the warehouse was loaded with it"):
        prepare()
    assert not path.exists()


def test_a_source_root_that_is_not_there_starts_nothing(home: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"source root .* is no folder"):
        plain.run_night(RunRequest(DAY, tmp_path / "nowhere"), lambda *_: None)
    assert list(home.iterdir()) == []


def test_a_run_that_was_killed_says_so_once_the_next_one_opens(warehouse: str, home: Path, root: Path) -> None:
    tokens.ensure_key(home)
    open_run(root)
    open_run(root, DAY + timedelta(days=1))
    assert runs() == [("run 2023-12-11", "failed"), ("run 2023-12-12", "running")]


@pytest.mark.parametrize(
    ("ways", "message"),
    [
        ({"KC001": "sftp"}, "way 'sftp' of KC001: kind sftp needs a connection"),
        ({"KC001": "fax:conn"}, "way 'fax:conn' of KC001"),
        ({"KC999": "file"}, "branch 'KC999' is not in the registry"),
    ],
)
def test_a_way_that_is_none_stops_the_night_before_it_begins(
    warehouse: str, home: Path, root: Path, ways: dict[str, str], message: str
) -> None:
    tokens.ensure_key(home)
    with pytest.raises(UserError, match=re.escape(message)):
        open_run(root, ways=ways)
    assert runs() == []


def test_a_night_without_any_place_to_look_is_refused(warehouse: str, home: Path) -> None:
    tokens.ensure_key(home)
    with pytest.raises(UserError, match="no source root is set"):
        nights.open_run(RunRequest(DAY), mode="plain", run_id="r")


def test_a_way_holds_for_its_run_and_no_other(
    warehouse: str, home: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visited: list[tuple[str, str, str | None]] = []

    def pull(conn: object, branch: Branch, *, run_id: str, until: date, root: Path | None) -> PullReport:
        visited.append((run_id, branch.kind, branch.connection))
        return PullReport(branch.branch_id, branch.kind, clock.now())

    monkeypatch.setattr("kkbc.nights.branch.pull", pull)
    tokens.ensure_key(home)
    open_run(root, ways={"KC001": "http:api_1"})
    open_run(root, DAY + timedelta(days=1))
    nights.pull_branch(f"run {DAY}", "KC001")
    nights.pull_branch(f"run {DAY}", "KC002")
    nights.pull_branch(f"run {DAY + timedelta(days=1)}", "KC001")
    assert visited == [
        (f"run {DAY}", "http", "api_1"),
        (f"run {DAY}", "file", None),
        (f"run {DAY + timedelta(days=1)}", "file", None),
    ]


def test_one_alert_reports_all_branches_that_failed_and_all_slices_rejected(
    warehouse: str, home: Path, root: Path
) -> None:
    tokens.ensure_key(home)
    run_id = open_run(root).run_id
    with connect() as conn:
        attempts = [
            ("KC001", "sftp", "failed", "BranchUnavailable: down"),
            ("KC001", "sftp", "loaded", None),
            ("KC002", "http", "failed", "BranchRefused: the token is refused"),
            ("KC003", "file", "nothing_new", None),
        ]
        for branch_id, kind, outcome, reason in attempts:
            conn.execute(
                "insert into ops.attempt (run_id, branch_id, kind, started_at, finished_at, outcome, reason)"
                " values (%s, %s, %s, now(), now(), %s, %s)",
                [run_id, branch_id, kind, outcome, reason],
            )
        conn.execute(
            "insert into ops.slice (feed, branch_id, business_date, revision, status, reason, manifest_sha256, run_id)"
            " values ('iuran', 'KC003', %s, 1, 'rejected', 'CHECKSUM', '', %s)",
            [DAY, run_id],
        )
    report = nights.close_pull(run_id)
    assert report["failed"] == {"KC002": "BranchRefused: the token is refused"}
    assert report["alert"] == (
        "1 of 3 branches could not be pulled, 1 had slices rejected\n"
        "KC002 (http) not pulled: BranchRefused: the token is refused\n"
        "KC003 rejected: iuran 2023-12-11 CHECKSUM"
    )
    with connect() as conn:
        assert conn.execute("select alert from ops.run").fetchall() == [(report["alert"],)]


def test_a_night_without_trouble_alerts_nobody(warehouse: str, home: Path, root: Path) -> None:
    tokens.ensure_key(home)
    run_id = open_run(root).run_id
    nights.pull_branch(run_id, "KC001")
    assert nights.close_pull(run_id)["alert"] is None
