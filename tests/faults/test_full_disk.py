"""A disk is full: one line says so, exit status 2, and once there is room the next run makes up for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import NewHome
from .stage import DAYS, Home, Victims, fill, small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 32 MB, empty."""
    with small_disk(tmp_path / "disk", 32) as path:
        yield path


def run(victims: Victims, home: Home) -> int | None:
    """A night through the command line."""
    return victims.run(home, "command", "run", "--source-root", str(home.root), "--as-of", DAYS[-1].isoformat())


@pytest.mark.parametrize("kilobytes", [0, 40, 100, 200])
def test_landing_is_full(
    kilobytes: int, victims: Victims, new_home: NewHome, disk: Path, undisturbed: dict[str, Any]
) -> None:
    home = new_home(KKBC_LANDING_URI=str(disk / "landing"))
    (disk / "landing").mkdir(mode=0o700)
    ballast = fill(disk, kilobytes * 1024)
    assert run(victims, home) == 2, home.log.read_text()
    assert "No space left on device" in home.complaint()
    ballast.unlink()
    assert victims.run(home, "pull", *home.pull_arguments()) == 0, home.log.read_text()
    assert home.pulled() == undisturbed


# With 20 kB every fetch finds room, and what dbt writes does not.
@pytest.mark.parametrize("kilobytes", [0, 4, pytest.param(20, marks=pytest.mark.faults)])
def test_the_spool_is_full(
    kilobytes: int, victims: Victims, new_home: NewHome, disk: Path, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    home = new_home(disk / "home", KKBC_LANDING_URI=str(tmp_path / "landing"))
    ballast = fill(disk, kilobytes * 1024)
    assert run(victims, home) == 2, home.log.read_text()
    assert "no space left" in home.complaint().lower()
    ballast.unlink()
    assert victims.run(home, "pull", *home.pull_arguments()) == 0, home.log.read_text()
    assert home.pulled() == undisturbed


@pytest.mark.parametrize("kilobytes", [0, 64, 160, 400])
def test_the_warehouse_is_full(
    kilobytes: int, victims: Victims, home_with_small_warehouse: tuple[Home, Path], undisturbed: dict[str, Any]
) -> None:
    home, disk = home_with_small_warehouse
    ballast = fill(disk, kilobytes * 1024)
    assert run(victims, home) == 2, home.log.read_text()
    complaint = home.complaint()
    assert "the disk of the warehouse is full: free space" in complaint or (
        "cannot connect to PostgreSQL" in complaint and "No space left on device: free space" in complaint
    )
    ballast.unlink()
    assert victims.run(home, "pull", *home.pull_arguments()) == 0, home.log.read_text()
    assert home.pulled() == undisturbed
