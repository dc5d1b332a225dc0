"""Restores: into an empty place and no other, whole or refused, with the right key, without those who were erased."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from kkbc import rights
from kkbc.cli.application import app
from kkbc.core.errors import UserError
from kkbc.core.home import RESTORING
from kkbc.core.settings import get_settings
from kkbc.nights.prepare import prepare
from kkbc.rights.persons import persons
from kkbc.rights.restriction import restrict
from kkbc.slices import AuditNote
from kkbc.upkeep import backup
from kkbc.upkeep.backup import Store, restoring, suppression, warehouse
from kkbc.upkeep.keys import rotate
from kkbc.warehouse import connect
from tests.faults.stage import files
from tests.upkeep.backup.conftest import Site

Elsewhere = Callable[..., Path]
# Versions of the keys of the tokens that are not cut.
VERSIONS = "select distinct left(participant_token, 2) from vault.registrations"


@pytest.fixture
def kept(site: Site) -> str:
    """The name of a backup, with its keys."""
    return backup.backup(str(site.store), keys_to=site.keys).manifest.name


def restored(site: Site, **more: Any) -> backup.Restored:
    (keys,) = site.keys.iterdir()
    return backup.restore(str(site.store), **{"keys_from": keys, **more})


def refusal(site: Site, **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        restored(site, **more)
    return str(caught.value)


def contents(database: str) -> dict[str, Any]:
    """Hashes of all rows of each table, without where landing lies, and what a home notes when it is prepared."""
    with psycopg.connect(database) as conn:
        return {
            table: conn.execute(
                f"select md5(string_agg(line, e'\\n' order by line collate \"C\")) from"  # type: ignore[arg-type]
                f" (select (to_jsonb(t) - 'landed_uri')::text as line from {table} t) lines"
            ).fetchone()
            for table in warehouse.count(conn)
            if table != "ops.setting"
        }


def test_all_comes_back_in_another_home_and_database(site: Site, kept: str, elsewhere: Elsewhere) -> None:
    before, landed = contents(site.database), files(site.home / "landing")
    home = elsewhere()
    result = restored(site)
    assert (result.manifest.name, result.missing, result.to_erase) == (kept, [], 0)
    assert contents(str(get_settings().database_url)) == before
    assert files(home / "landing") == landed
    assert (home / "keys" / "pii.key").read_bytes() == (site.home / "keys" / "pii.key").read_bytes()
    with connect("loader") as conn:
        (uri,) = conn.execute("select landed_uri from ops.slice").fetchone() or ("",)
    assert uri.startswith(f"file://{home}/landing/KC001/")
    assert not (home / RESTORING).exists()
    # It goes on from there: a revision replaces what the backup brought.
    site.send("A", "C", "D", revision=2)
    with connect() as conn:
        assert conn.execute("select count(*) from raw.registrations").fetchone() == (2,)
        assert conn.execute(
            "select last_analyze is not null from pg_stat_user_tables where relname = 'slice'"
        ).fetchone()
    assert backup.backup(str(site.store)).missing == []


def test_an_earlier_backup_is_restored_by_its_name(site: Site, kept: str, elsewhere: Elsewhere) -> None:
    site.send("A", "B", "C", revision=2)
    backup.backup(str(site.store))
    elsewhere()
    restored(site, name=kept)
    with connect() as conn:
        assert conn.execute("select max(revision) from ops.slice").fetchone() == (1,)


def test_a_name_that_is_no_backup_is_refused(site: Site, kept: str, elsewhere: Elsewhere) -> None:
    elsewhere()
    assert "holds no backup 20200101T000000Z" in refusal(site, name="20200101T000000Z")
    assert "there is no backup in" in refusal_of_empty(site)


def refusal_of_empty(site: Site) -> str:
    with pytest.raises(UserError) as caught:
        backup.restore(str(site.store / "objects"))
    return str(caught.value)


def test_it_goes_through_a_place_that_is_no_folder(site: Site, elsewhere: Elsewhere) -> None:
    """Backups and the landing of the restored installation both lie under URIs."""
    target, landing = f"memory://{site.home.parent.name}/store", f"memory://{site.home.parent.name}/landing"
    backup.backup(target, keys_to=site.keys)
    before = contents(site.database)
    elsewhere(KKBC_LANDING_URI=landing)
    (keys,) = site.keys.iterdir()
    assert backup.restore(target, keys_from=keys).missing == []
    assert contents(str(get_settings().database_url)) == before
    with connect() as conn:
        (uri,) = conn.execute("select landed_uri from ops.slice").fetchone() or ("",)
    assert re.match(r"memory://.*/landing/KC001/", uri)
    # From landing that is no folder to a backup in one.
    assert backup.backup(str(site.store)).manifest.landing_files == 3


@pytest.mark.parametrize("given", ["none", "another", "no text"])
def test_a_key_that_is_not_the_warehouses_is_refused_before_anything_is_done(
    site: Site, kept: str, elsewhere: Elsewhere, given: str
) -> None:
    key = site.keys / kept / "pii.key"
    key.unlink()
    if given != "none":
        key.write_text("cd" * 32 if given == "another" else "no key")
    home = elsewhere()
    wanted = {"none": "is missing", "another": "is not the one that this backup", "no text": "is no hexadecimal text"}
    assert wanted[given] in refusal(site)
    assert not home.exists()
    assert warehouse.is_empty()


def test_nothing_is_restored_over_a_database_landing_or_home_that_is_in_use(
    site: Site, kept: str, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = elsewhere(KKBC_LANDING_URI=str(site.home / "landing"))
    assert "is not empty: empty it, or keep it by --landing-in-place" in refusal(site)
    monkeypatch.setenv("KKBC_LANDING_URI", "")
    monkeypatch.setenv("KKBC_DATABASE_URL", site.database)
    get_settings.cache_clear()
    assert "the database of KKBC_DATABASE_URL is not empty" in refusal(site)
    monkeypatch.setenv("KKBC_DATABASE_URL", "")
    get_settings.cache_clear()
    (home / "pg").mkdir(parents=True)
    assert f"the home {home} is not empty: pg" in refusal(site)
    assert [path.name for path in home.iterdir()] == ["pg"]


def test_landing_that_was_not_lost_stays(site: Site, kept: str, elsewhere: Elsewhere) -> None:
    landing = site.home / "landing"
    site.send("A", "B", "C", revision=2)
    before = files(landing)
    elsewhere(KKBC_LANDING_URI=str(landing))
    assert restored(site, landing_in_place=True).missing == []
    assert files(landing) == before


def damage(path: Path) -> None:
    """Changes one byte in the middle, with the size as it was."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGED = ("manifest.json", "landing.jsonl.gz", "warehouse/toc.dat", "warehouse/*.dat.gz", "../objects/*/*")


def test_a_damaged_or_missing_file_is_refused_by_name(site: Site, kept: str, elsewhere: Elsewhere) -> None:
    whole = site.store.rename(site.store.with_name("whole"))
    elsewhere()
    for file in DAMAGED:
        for gone in (False, True):
            shutil.rmtree(site.store, ignore_errors=True)
            shutil.copytree(whole, site.store)
            found = sorted(path.resolve() for path in (site.store / kept).glob(file))[0]
            found.unlink() if gone else damage(found)
            if file == "manifest.json" and gone:
                assert Store(str(site.store)).names() == []
                continue
            (line,) = backup.verify(Store(str(site.store)), kept, lambda *_: None)
            assert line.startswith(f"{found} is ")
            assert refusal(site).startswith(f"{found} is {'missing' if gone else 'damaged'}")
            assert warehouse.is_empty()
    assert CliRunner().invoke(app, ["backup", "verify", str(site.store)]).exit_code == 1


def test_a_restore_that_breaks_off_keeps_nights_away_and_is_done_again(
    site: Site, kept: str, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(site.database)
    home = elsewhere()
    with monkeypatch.context() as patch:
        patch.setattr(restoring.tools, "load", lambda *_, **__: (_ for _ in ()).throw(UserError("the cable is out")))
        assert refusal(site) == "the cable is out"
    with pytest.raises(UserError, match=r"the restore of a backup into .* did not end"):
        prepare()
    restored(site)
    assert contents(str(get_settings().database_url)) == before
    assert not (home / RESTORING).exists()
    prepare()


def test_rows_that_are_not_all_there_are_noticed(
    site: Site, kept: str, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere()
    load = restoring.tools.load

    def losing(conninfo: str, *arguments: Any, **options: Any) -> None:
        load(conninfo, *arguments, **options)
        with psycopg.connect(conninfo) as conn:
            conn.execute("delete from raw.registrations")

    monkeypatch.setattr(restoring.tools, "load", losing)
    assert "not all rows were loaded: raw.registrations 0 of 1" in refusal(site)


# ---------------------------------------------------------------------------------------------------------------------
# Those who were erased after the backup
# ---------------------------------------------------------------------------------------------------------------------


def suppress(database: str, *tokens: str) -> None:
    """Puts tokens on the list of the warehouse, which the erasure of a person does."""
    with psycopg.connect(database) as conn:
        for token in tokens:
            conn.execute("insert into vault.suppressed (token, erasure_id) values (%s, 1)", [token])


def change_suppression_keys(database: str) -> None:
    """Has the list be of keys that came after those of the backup."""
    with psycopg.connect(database) as conn:
        conn.execute("update ops.setting set value = 'others' where name = 'suppression_key_fingerprint'")


def listed(site: Site) -> list[str]:
    return sorted(entry["token"] for entry in suppression.load(Store(str(site.store))) or [])


def test_the_list_beside_the_backups_grows_and_never_shrinks(site: Site, kept: str) -> None:
    assert listed(site) == []
    suppress(site.database, "t1", "t2")
    backup.backup(str(site.store))
    assert listed(site) == ["t1", "t2"]
    with psycopg.connect(site.database) as conn:
        conn.execute("delete from vault.suppressed where token = 't1'")
    suppress(site.database, "t3")
    done = CliRunner().invoke(app, ["backup", "--suppression-only", "--to", str(site.store), "--json"])
    assert json.loads(done.stdout) == {"suppressed": 3}
    assert listed(site) == ["t1", "t2", "t3"]
    assert len(Store(str(site.store)).names()) == 2


def test_a_restore_says_who_still_has_to_be_erased(site: Site, kept: str, elsewhere: Elsewhere) -> None:
    suppress(site.database, "t1", "t2")
    change_suppression_keys(site.database)
    backup.keep_suppression(str(site.store))
    elsewhere()
    done = CliRunner().invoke(app, ["restore", str(site.store), "--keys-from", str(site.keys / kept)])
    assert done.exit_code == 1, done.output
    assert "2 persons of the suppression list are in it and STILL HAVE TO BE ERASED." in done.output


def test_those_who_were_erased_after_the_backup_are_erased_again(
    site: Site, kept: str, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    suppress(site.database, "t1")
    backup.backup(str(site.store))
    suppress(site.database, "t2", "t3")
    backup.keep_suppression(str(site.store))
    asked: list[str] = []

    def erase(entries: list[suppression.Entry]) -> int:
        """A stand-in: it sees a whole, migrated warehouse, and no night can run before it has ended."""
        with connect() as conn:
            assert conn.execute("select count(*) from raw.registrations").fetchone() == (1,)
        with pytest.raises(UserError, match="did not end"):
            prepare()
        asked.extend(entry["token"] for entry in entries)
        return len(entries)

    monkeypatch.setattr(suppression, "apply_suppression", erase)
    elsewhere()
    result = restored(site, keys_from=site.keys / kept)
    assert sorted(asked) == ["t2", "t3"]  # their ids are random
    assert (result.erased, result.to_erase) == (2, 0)


def test_a_list_of_another_place_can_be_brought(site: Site, kept: str, elsewhere: Elsewhere, tmp_path: Path) -> None:
    suppress(site.database, "t9")
    backup.keep_suppression(str(tmp_path / "list"))
    elsewhere()
    result = restored(site, suppressed=tmp_path / "list" / "suppressed.json")
    assert (result.erased, result.to_erase) == (1, 0)
    with connect("loader") as conn:
        assert conn.execute("select token from vault.suppressed").fetchall() == [("t9",)]


def test_a_person_who_was_erased_after_the_backup_does_not_come_back_with_it(site: Site, elsewhere: Elsewhere) -> None:
    """Neither in the vault, nor in landing, nor with the next delivery; the other person does."""
    gone, stays = "1171011203909001", "1171011203909002"
    site.send("A", "B", "C", revision=2, niks=(gone, stays, gone))
    name = backup.backup(str(site.store), keys_to=site.keys).manifest.name
    rights.erase(rights.Wanted((gone,), (1,)), why="a request", who="a tester")
    backup.keep_suppression(str(site.store))
    home = elsewhere()
    result = backup.restore(str(site.store), name, keys_from=site.keys / name)
    assert (result.erased, result.to_erase) == (1, 0)
    with connect() as conn:
        assert conn.execute("select nik from vault.registrations").fetchall() == [(stays,)]
        assert conn.execute("select count(*) from raw.registrations").fetchone() == (2,)
    for path in (home / "landing").rglob("*"):
        assert path.is_dir() or gone.encode() not in path.read_bytes()
    assert rights.verify(rights.Wanted((gone,), (1,)), why="proof", who="a tester").places == []
    site.send("A", "B", "C", revision=3, niks=(gone, stays, gone))
    with connect() as conn:
        assert conn.execute("select nik from vault.registrations").fetchall() == [(stays,)]
        codes = conn.execute("select line, 'ERASED' = any(errors) from ops.quarantine where revision = 3 order by 1")
        assert codes.fetchall() == [(2, True), (4, True)]


def test_a_restriction_of_somebody_without_rows_who_was_erased_does_not_come_back(
    site: Site, elsewhere: Elsewhere
) -> None:
    gone = "1171011203909001"
    restrict(persons([gone]), AuditNote("a test", "a tester"))
    name = backup.backup(str(site.store), keys_to=site.keys).manifest.name
    rights.erase(rights.Wanted((gone,), (1,)), why="a request", who="a tester")
    backup.keep_suppression(str(site.store))
    elsewhere()
    assert backup.restore(str(site.store), name, keys_from=site.keys / name).to_erase == 0
    with connect() as conn:
        assert conn.execute("select nik from vault.person").fetchall() == []
        assert conn.execute("select left(participant_token, 2) from vault.restricted").fetchall() == [("00",)]


def test_a_backup_from_before_a_change_of_the_key_needs_the_keys_of_then(
    site: Site, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    """With the keys of today nothing is restored; with those of then all of it is, but for persons erased since."""
    gone, stays = "1171011203909001", "1171011203909002"
    site.send("A", "B", "C", revision=2, niks=(gone, stays, gone))
    then = backup.backup(str(site.store), keys_to=site.keys).manifest.name
    assert rotate(why="a test", who="a tester") is not None
    rights.erase(rights.Wanted((gone,), (1,)), why="a request", who="a tester")
    now = backup.backup(str(site.store), keys_to=site.keys).manifest.name

    home = elsewhere()
    with pytest.raises(UserError, match="is not the one that this backup"):
        backup.restore(str(site.store), then, keys_from=site.keys / now)
    assert not home.exists()
    assert warehouse.is_empty()

    result = backup.restore(str(site.store), then, keys_from=site.keys / then)
    assert (result.erased, result.to_erase) == (1, 0)
    for query, left in (("select nik from vault.registrations", stays), (VERSIONS, "01")):
        with connect() as conn:
            assert conn.execute(query).fetchall() == [(left,)]  # type: ignore[arg-type]
    assert rights.verify(rights.Wanted((gone,), (1,)), why="proof", who="a tester").places == []
    assert rotate(why="a test", who="a tester") is not None
    site.send("A", "B", "C", revision=3, niks=(gone, stays, gone))
    for query, left in (("select nik from vault.registrations", stays), (VERSIONS, "02")):
        with connect() as conn:
            assert conn.execute(query).fetchall() == [(left,)]  # type: ignore[arg-type]


def test_a_damaged_list_is_refused(site: Site, kept: str, elsewhere: Elsewhere) -> None:
    path = site.store / "suppressed.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "entries": [{"token": "t0"}]}))
    elsewhere()
    assert refusal(site) == f"{path} is damaged: bring the list from another copy: --suppression FILE"
    assert warehouse.is_empty()
