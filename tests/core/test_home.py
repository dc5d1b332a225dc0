"""The home: closed to other users, also where an earlier version left it open."""

import os
import pwd
import stat
from pathlib import Path

import pytest

from kkbc.core.home import make_home, open_to_others
from kkbc.upkeep import doctor


def modes(home: Path) -> dict[str, int]:
    return {str(path.relative_to(home)): stat.S_IMODE(path.lstat().st_mode) for path in home.rglob("*")}


@pytest.fixture
def old_home(home: Path) -> Path:
    """A home as an earlier version made it, in a shell like most."""
    before = os.umask(0o022)
    for folder in ("airflow/logs/dag", "run", "lineage", "gx/1/data_docs", "keys", "landing/slice", "mine"):
        (home / folder).mkdir(parents=True)
    for file in ("airflow/logs/dag/1.log", "run/scheduler.log", "lineage/events.jsonl", "landing/slice/sent", "mine/a"):
        (home / file).write_text("")
    (home / "landing").chmod(0o700)
    (home / "run" / "link").symlink_to(home / "mine" / "a")
    home.chmod(0o755)
    os.umask(before)
    return home


def test_an_old_home_is_closed_with_all_that_is_ours_in_it(old_home: Path) -> None:
    make_home(old_home)
    assert stat.S_IMODE(old_home.stat().st_mode) == 0o700
    found = modes(old_home)
    assert {path: oct(mode) for path, mode in found.items() if mode & 0o077} == {
        # What nobody can get to, what is not ours, and a link, which has no mode.
        **{"landing/slice": "0o755", "landing/slice/sent": "0o644"},
        **{"mine": "0o755", "mine/a": "0o644", "run/link": "0o777"},
    }
    assert list(open_to_others(old_home)) == []


def test_what_is_made_later_is_closed_from_the_start(home: Path) -> None:
    before = os.umask(0o022)
    try:
        make_home(home / "new" / "home")
        (home / "new" / "home" / "run").mkdir()
        (home / "new" / "home" / "run" / "a.pid").write_text("")
    finally:
        os.umask(before)
    assert {path: oct(mode) for path, mode in modes(home).items()} == {
        **{"new": "0o700", "new/home": "0o700", "new/home/run": "0o700", "new/home/run/a.pid": "0o600"}
    }


def test_one_that_was_closed_half_way_is_closed_the_next_time(old_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = Path.chmod, iter(range(100))

    def chmod(path: Path, mode: int, **more: bool) -> None:
        if next(calls) == 3:
            raise KeyboardInterrupt
        original(path, mode, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "chmod", chmod)
        with pytest.raises(KeyboardInterrupt):
            make_home(old_home)
    make_home(old_home)
    assert list(open_to_others(old_home)) == []
    assert modes(old_home)["airflow/logs/dag/1.log"] == 0o600


def test_the_doctor_names_what_is_open(old_home: Path) -> None:
    def home() -> doctor.Finding:
        return next(finding for finding in doctor.examine() if finding.name == "home")

    assert home().state == "fail"
    assert str(old_home / "airflow") in home().found
    assert "kkbc migrate" in home().remedy
    make_home(old_home)
    assert home().state == "ok"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root lends PostgreSQL a user of its own")
def test_a_server_that_runs_keeps_the_way_to_its_data(old_home: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    servers = [old_home / "pg", old_home / "world" / "servers" / "pg"]
    for data in servers:
        data.mkdir(parents=True)
        (data / "pg_control").write_text("")
        os.chown(data, nobody.pw_uid, nobody.pw_gid)
        data.chmod(0o700)
    for folder in (old_home, old_home / "world", old_home / "world" / "servers"):
        folder.chmod(0o755)
    make_home(old_home)
    for folder in (old_home, old_home / "world", old_home / "world" / "servers"):
        assert (oct(stat.S_IMODE(folder.stat().st_mode)), folder.stat().st_gid) == ("0o710", nobody.pw_gid)
    assert list(open_to_others(old_home)) == []
    assert stat.S_IMODE((old_home / "run").stat().st_mode) == 0o700
