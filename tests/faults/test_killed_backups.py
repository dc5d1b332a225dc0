"""A backup or a restore is killed at a named point: half a backup is none, and the next try makes all of it good."""

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from kkbc.upkeep.backup import Store, verify
from kkbc.warehouse import server

from .stage import PULLED, Home, Trap, Victims, assert_killed, files, fill, small_disk, tables, trap

BACKUP = "kkbc.upkeep.backup"
TAKING: dict[str, tuple[Trap, ...]] = {
    "nothing dumped": (trap(f"{BACKUP}.tools:dump"),),
    "the warehouse is dumped": (trap(f"{BACKUP}.tools:dump", "after"),),
    "some of landing is copied": (trap(f"{BACKUP}.landing:_store", nth=5),),
    "landing is listed": (trap(f"{BACKUP}.landing:_write_list", "after"),),
    "all but the manifest": (trap(f"{BACKUP}.store:Store.finish"),),
    "whole, older ones not removed": (trap(f"{BACKUP}.landing:prune"),),
    "an older one is half removed": (trap(f"{BACKUP}.store:Store.remove", "after"),),
}
RESTORING: dict[str, tuple[Trap, ...]] = {
    "some of landing is there": (trap(f"{BACKUP}.landing:_copy_object", nth=5),),
    "the database is empty": (trap(f"{BACKUP}.tools:load"),),
    "the database is loaded": (trap(f"{BACKUP}.tools:load", "after"),),
    "those who were erased are not yet erased again": (trap(f"{BACKUP}.suppression:read"),),
}


@pytest.fixture(scope="module")
def backup_victims() -> Iterator[Victims]:
    """With what the command line needs for a backup."""
    served = Victims("kkbc.nights.branch", "kkbc.nights.run", "kkbc.upkeep.backup", "kkbc.cli.application")
    yield served
    served.close()


@pytest.mark.parametrize("point", TAKING)
def test_a_backup_killed_at(point: str, backup_victims: Victims, home: Home, tmp_path: Path) -> None:
    store, command = tmp_path / "store", ("backup", "--to", str(tmp_path / "store"), "--keep", "1")
    assert backup_victims.run(home, "pull", *home.pull_arguments()) == 0, home.log.read_text()
    assert backup_victims.run(home, "command", *command) == 0, home.log.read_text()
    (first,) = Store(str(store)).names()
    (home.landing / "KC001" / "late").mkdir()
    for number in range(9):
        (home.landing / "KC001" / "late" / f"{number}").write_text(f"new {number}")
    assert_killed(backup_victims.run(home, "command", *command, traps=TAKING[point]))
    for name in Store(str(store)).names():
        assert verify(Store(str(store)), name, lambda *_: None) == []
    assert (first in Store(str(store)).names()) == (point != "an older one is half removed")
    assert backup_victims.run(home, "command", *command) == 0, home.log.read_text()
    (last,) = Store(str(store)).names()
    assert last != first
    assert verify(Store(str(store)), last, lambda *_: None) == []
    assert {path.name for path in store.iterdir()} == {last, "objects", "suppressed.json"}
    assert len(Store(str(store)).objects()) == len(set(files(home.landing).values()))
    assert not [path for path in store.rglob("*") if stat.S_IMODE(path.stat().st_mode) & 0o077]


@pytest.fixture(scope="module")
def saved(
    backup_victims: Victims, shared_home: Home, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, dict[str, str]]:
    """Backups of a home, its keys, and what it held."""
    folder = tmp_path_factory.mktemp("saved")
    assert backup_victims.run(shared_home, "pull", *shared_home.pull_arguments()) == 0, shared_home.log.read_text()
    arguments = ("backup", "--to", str(folder / "store"), "--keys-to", str(folder / "keys"))
    assert backup_victims.run(shared_home, "command", *arguments) == 0, shared_home.log.read_text()
    (keys,) = (folder / "keys").iterdir()
    return folder / "store", keys, {**tables(shared_home.database, PULLED), **files(shared_home.landing)}


@pytest.mark.parametrize("point", RESTORING)
def test_a_restore_killed_at(
    point: str,
    backup_victims: Victims,
    saved: tuple[Path, Path, dict[str, str]],
    deliveries: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, keys, before = saved
    home = Home(tmp_path / "home", "", deliveries)
    shutil.rmtree(home.folder)
    command = ("restore", str(store), "--keys-from", str(keys))
    try:
        assert_killed(backup_victims.run(home, "command", *command, traps=RESTORING[point]))
        assert backup_victims.run(home, "command", *home.run_arguments()) == 2
        assert "did not end: do it again: `kkbc restore`" in home.complaint()
        assert backup_victims.run(home, "command", *command) == 0, home.log.read_text()
        running = server.find(home.folder)
        assert running is not None
        assert {**tables(running.conninfo("kkbc"), PULLED), **files(home.landing)} == before
        # The home goes on: nothing that was loaded is loaded again.
        home.database = running.conninfo("kkbc")
        assert backup_victims.run(home, "pull", *home.pull_arguments(run_id="after")) == 0, home.log.read_text()
        assert tables(home.database, PULLED).items() <= before.items()
    finally:
        server.stop(home.folder)


@pytest.mark.parametrize("megabytes", [0, 1, 30])
def test_the_disk_to_restore_to_is_full(
    megabytes: int,
    backup_victims: Victims,
    saved: tuple[Path, Path, dict[str, str]],
    deliveries: Path,
    tmp_path: Path,
) -> None:
    store, keys, before = saved
    with small_disk(tmp_path / "disk", 400) as disk:
        home = Home(disk / "home", "", deliveries)
        shutil.rmtree(home.folder)
        command = ("restore", str(store), "--keys-from", str(keys))
        ballast = fill(disk, megabytes * 2**20)
        try:
            home.forget_log()
            status = backup_victims.run(home, "command", *command)
            text = home.log.read_text()
            assert status == 2, text
            assert "space" in home.complaint(), text
            ballast.unlink()
            assert backup_victims.run(home, "command", *command) == 0, home.log.read_text()
            running = server.find(home.folder)
            assert running is not None
            assert {**tables(running.conninfo("kkbc"), PULLED), **files(home.landing)} == before
        finally:
            server.stop(home.folder)
