"""Backups: what they hold, what is new in each, what goes, and what is no place for one."""

import json
import stat
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kkbc.cli.application import app
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.upkeep import backup
from kkbc.upkeep.backup import Store, landing, taking, tools
from kkbc.warehouse import locks, server
from kkbc.warehouse.locks import Lock
from tests.faults.stage import fill, small_disk
from tests.upkeep.backup.conftest import Site


def taken(site: Site, **more: Any) -> backup.Taken:
    return backup.backup(str(site.store), **more)


def refusal(site: Site, **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        taken(site, **more)
    return str(caught.value)


def test_a_second_backup_copies_only_what_is_new(site: Site) -> None:
    first = taken(site).manifest
    assert (first.landing_files, first.new_objects) == (3, 3)
    assert taken(site).manifest.new_objects == 0
    site.send("A", "B", "C", revision=2)
    third = taken(site).manifest
    assert (third.landing_files, third.new_objects) == (6, 3)
    assert len(Store(str(site.store)).objects()) == 6
    assert third.rows["raw.registrations"] == 2
    assert third.rows["ops.slice"] == 2


def test_files_are_its_owners_alone(site: Site) -> None:
    taken(site)
    for path in (site.store, *site.store.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_the_keys_go_elsewhere_or_nowhere(site: Site) -> None:
    key = (site.home / "keys" / "pii.key").read_bytes()
    manifest = taken(site, keys_to=site.keys).manifest
    copy = site.keys / manifest.name / "pii.key"
    assert copy.read_bytes() == key
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert stat.S_IMODE(copy.parent.stat().st_mode) == 0o700
    assert not any(key.strip() in path.read_bytes() for path in site.store.rglob("*") if path.is_file())


@pytest.mark.parametrize("place", ["store", "store/keys", "home/copy", "."])
def test_keys_never_lie_in_one_tree_with_what_they_open(site: Site, place: str) -> None:
    places = {"store": site.store, "home": site.home, ".": site.store.parent}
    first, _, rest = place.partition("/")
    assert "would lie in one tree with" in refusal(site, keys_to=places[first] / rest)
    assert not site.store.exists()


@pytest.mark.parametrize("inside", ["backups", "landing/backups", "."])
def test_a_backup_does_not_lie_in_the_home(site: Site, inside: str) -> None:
    with pytest.raises(UserError, match="would be lost with it"):
        backup.backup(str(site.home / inside))


def test_without_a_place_one_line_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"give --to, or set KKBC_BACKUP_TO"):
        backup.backup()
    monkeypatch.setenv("KKBC_BACKUP_TO", str(site.store))
    get_settings.cache_clear()
    assert backup.backup().manifest.landing_files == 3


def test_a_backup_that_breaks_off_is_none_and_the_next_one_goes_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(taking.suppression, "update", lambda *_: (_ for _ in ()).throw(RuntimeError))
        with pytest.raises(RuntimeError):
            taken(site)
    store = Store(str(site.store))
    assert store.names() == []
    with pytest.raises(UserError, match="there is no backup in"):
        store.latest()
    manifest = taken(site).manifest
    assert manifest.new_objects == 0
    assert {path.name for path in site.store.iterdir()} == {manifest.name, "objects", "suppressed.json"}


def test_older_backups_go_with_what_only_they_need(site: Site) -> None:
    names = [taken(site).manifest.name]
    site.send("A", "B", "C", revision=2)
    names.append(taken(site).manifest.name)
    for path in (site.home / "landing").rglob("r1-*/*/*"):
        path.unlink()
    last = taken(site, keep=1)
    assert last.removed == names
    store = Store(str(site.store))
    assert store.names() == [last.manifest.name]
    assert len(store.objects()) == 3
    assert backup.verify(store, last.manifest.name, lambda *_: None) == []


def test_slices_whose_bytes_are_gone_are_named(site: Site) -> None:
    (sent,) = (site.home / "landing").rglob("sent/*")
    sent.unlink()
    assert taken(site).missing == ["pendaftaran KC001 2023-12-11 r1"]
    done = CliRunner().invoke(app, ["backup", "--to", str(site.store), "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["missing"] == ["pendaftaran KC001 2023-12-11 r1"]


def test_what_is_being_written_into_landing_is_left_out(site: Site) -> None:
    (folder,) = (site.home / "landing").glob("*/*/*/r1-*")
    for name in ("sent.partial", "rows.partial/accepted-00000.parquet", "rows.compact/accepted-00000.parquet"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"half")
    assert taken(site).manifest.landing_files == 3


def test_a_file_that_moves_while_it_is_read_is_found_under_its_other_name(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder,) = (site.home / "landing").glob("*/*/*/r1-*")
    store_one = landing._store

    def moving(*arguments: Any) -> Any:
        if (folder / "rows").exists():
            (folder / "rows").rename(folder / "rows.earlier")
            (folder / "rows.earlier").rename(folder / "rows2")
        return store_one(*arguments)

    monkeypatch.setattr(landing, "_store", moving)
    name = taken(site).manifest.name
    assert {entry.path.split("/")[4] for entry in landing.entries(Store(str(site.store)), name)} == {"sent", "rows2"}


def test_a_backup_waits_for_a_build_and_says_so(site: Site) -> None:
    held, said = threading.Event(), []

    def build() -> None:
        with locks.locked(Lock.PUBLISH, "build 1", role="transformer"):
            held.set()
            waiting.wait(30)

    waiting = threading.Event()
    thread = threading.Thread(target=build)
    thread.start()
    held.wait(30)
    taken(site, say=lambda line: (said.append(line), waiting.set()))  # type: ignore[func-returns-value]
    thread.join()
    assert said == ["a build is under way; the backup waits for its step to end"]


def test_loads_go_on_while_the_warehouse_is_dumped(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    dump = tools.dump

    def slow(*arguments: Any, **options: Any) -> None:
        site.send("A", "B", "C", revision=2)
        dump(*arguments, **options)

    monkeypatch.setattr(taking.tools, "dump", slow)
    manifest = taken(site).manifest
    # One snapshot: what came after it is in the next backup, and landing may hold more than it names.
    assert manifest.rows["ops.slice"] == 1
    assert manifest.landing_files == 6


def test_another_backup_of_the_home_is_not_taken_at_the_same_time(site: Site) -> None:
    with taking._alone():
        assert refusal(site).startswith("another backup of this home is being taken")


def test_a_password_is_in_no_argument(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[tuple[list[str], dict[str, str]]] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        seen.append((command, options["env"]))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    tools.run(["pg_dump"], "postgresql://owner:very%20secret@dw/kkbc", "")
    ((command, environment),) = seen
    assert "secret" not in " ".join(command)
    assert environment["PGPASSWORD"] == "very secret"


def test_a_tool_that_is_older_than_the_server_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"pg_dump of PostgreSQL 99 or later is needed, .* is 18.*postgresql-client-99"):
        tools.find("pg_dump", 990000)
    monkeypatch.setattr(tools, "BINARIES", Path("/nowhere"))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="pg_restore of PostgreSQL 18 or later is needed, none was found"):
        tools.find("pg_restore", 180001)


def test_a_tool_of_the_servers_own_version_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older = tmp_path / "pg_dump"
    older.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 16.3'\n")
    older.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tools.find("pg_dump", 160003) == str(older)
    assert tools.find("pg_dump", 170001) == str(server.BINARIES / "pg_dump")


def test_a_full_disk_is_one_line_and_leaves_the_backups_of_before(site: Site, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 8) as disk:
        site.store = disk / "store"
        first = taken(site).manifest.name
        for room in (0, 100_000):
            ballast = fill(disk, room)
            assert "No space left on device" in refusal(site)
            ballast.unlink()
            assert Store(str(site.store)).names() == [first]
        assert backup.verify(Store(str(site.store)), first, lambda *_: None) == []
        taken(site)


def test_backups_go_to_any_place_that_fsspec_knows(site: Site) -> None:
    target = f"memory://{site.home.parent.name}"
    manifest = backup.backup(target).manifest
    assert backup.backup(target).manifest.new_objects == 0
    assert Store(target).names()[0] == manifest.name
    assert backup.verify(Store(target), manifest.name, lambda *_: None) == []
    assert list((site.home / "spool").iterdir()) == []


def test_the_command_line_lists_and_verifies(site: Site) -> None:
    runner, place = CliRunner(), str(site.store)
    done = runner.invoke(app, ["backup", "--to", place])
    assert done.exit_code == 0, done.output
    name = Store(place).latest()
    assert name in done.stdout
    assert "The keys are not in it" in done.output
    listed = json.loads(runner.invoke(app, ["backup", "list", place, "--json"]).stdout)
    assert [(one["name"], one["landing_files"]) for one in listed] == [(name, 3)]
    assert name in runner.invoke(app, ["backup", "list", place]).stdout
    assert runner.invoke(app, ["backup", "verify", place]).stdout == f"{name} is whole\n"


def test_a_database_without_a_warehouse_has_nothing_to_back_up(elsewhere: Any, tmp_path: Path) -> None:
    elsewhere().mkdir()
    with pytest.raises(UserError, match="the database holds no warehouse"):
        backup.backup(str(tmp_path / "store"))
