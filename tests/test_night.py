"""Opening a night: mistakes of the set-up are told before anything is done, and each run is on record."""

import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from kkbc import clock, night, plain, privacy
from kkbc.contracts import load_contract
from kkbc.errors import UserError
from kkbc.night import Wishes
from kkbc.settings import PROJECT_ROOT, get_settings
from kkbc.warehouse import connect
from kkbc.warehouse.prepare import prepare

DAY = date(2023, 12, 11)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "branches"
    folder.mkdir()
    return folder


def open_run(root: Path, as_of: date = DAY, **more: Any) -> night.Run:
    return night.open_run(Wishes(as_of, root, **more), mode="plain", run_id=f"run {as_of}")


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
    privacy.ensure_key(home)
    latest = clock.latest_due(clock.now())
    assert open_run(root, latest).as_of == latest
    with pytest.raises(UserError, match="is not due yet: the latest that is due by now is"):
        open_run(root, latest + timedelta(days=1))


def test_folders_that_are_not_pulled_are_named(warehouse: str, home: Path, root: Path) -> None:
    privacy.ensure_key(home)
    for name in ("KC001/2023-12-11", "KC002/11-12-2023", "KC999/2023-12-11", "archive"):
        (root / name).mkdir(parents=True)
    assert open_run(root).notes == [
        "folder 'KC002/11-12-2023' is no business date, it is not pulled: name it YYYY-MM-DD",
        "folder 'KC999' has no registry entry, its deliveries are not pulled: add it to config/branches.yml",
        "folder 'archive' is no branch, it is not pulled: branches are KC001, KC002, ... and HQ",
    ]


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        ("AMOUNT_SUM\n", "AMOUNT_SUMM\n", "AMOUNT_SUMM: no code of the exchange"),
        ("check: nik_format}", "check: nik_formatt}", "unknown check 'nik_formatt'"),
        ("severity: error", "severity: grave", "severity error|warning"),
        ("schema:", "schema: [", "is broken"),
    ],
)
def test_a_broken_contract_stops_the_night_before_it_begins(
    warehouse: str, home: Path, root: Path, contracts: Path, good: str, bad: str, told: str
) -> None:
    privacy.ensure_key(home)
    path = contracts / "iuran.odcs.yaml"
    text = path.read_text()
    assert good in text
    path.write_text(text.replace(good, bad, 1))
    with pytest.raises(UserError) as caught:
        open_run(root)
    assert told in str(caught.value)
    assert "iuran" in str(caught.value)
    assert runs() == []


def test_another_key_than_the_one_of_the_warehouse_is_refused(warehouse: str, home: Path, root: Path) -> None:
    path = privacy.ensure_key(home)
    open_run(root)
    path.write_text("cd" * 32)
    with pytest.raises(UserError, match="not the one that this warehouse was loaded with"):
        open_run(root, DAY + timedelta(days=1))


def test_a_lost_key_is_not_replaced(warehouse: str, home: Path, root: Path) -> None:
    prepare()
    open_run(root)
    path = home / "keys" / privacy.KEY_FILE
    path.unlink()
    with pytest.raises(UserError, match="is gone, and the warehouse was loaded with it"):
        prepare()
    assert not path.exists()


def test_a_source_root_that_is_not_there_starts_nothing(home: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"source root .* is no folder"):
        plain.run_night(Wishes(DAY, tmp_path / "nowhere"), lambda *_: None)
    assert list(home.iterdir()) == []


def test_a_run_that_was_killed_says_so_once_the_next_one_opens(warehouse: str, home: Path, root: Path) -> None:
    privacy.ensure_key(home)
    open_run(root)
    open_run(root, DAY + timedelta(days=1))
    assert runs() == [("run 2023-12-11", "failed"), ("run 2023-12-12", "running")]
