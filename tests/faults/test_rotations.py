"""The key of the tokens is changed between nights, and killed on the way: no figure changes, nothing is left over."""

import hashlib
import hmac
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from kkbc.core import tokens
from kkbc.warehouse import schema, server
from tests.databases import database

from .conftest import publish
from .stage import DAYS, KEY, Home, Trap, Victims, assert_killed, fill, nik, trap

ROTATE = ("keys", "rotate", "--why", "a test")
Figures = dict[str, list[str]]

ROTATION = "kkbc.upkeep.keys.rotation"
POINTS: dict[str, tuple[Trap, ...]] = {
    "noted, no next key": (trap(f"{ROTATION}:_next_key"),),
    "next key made, not noted": (trap(f"{ROTATION}:_next_key", "after"),),
    "next key noted": (trap(f"{ROTATION}:_begin", "after"),),
    "new tokens made": (trap(f"{ROTATION}:_switch"),),
    "under the locks": (trap("kkbc.slices.new_tokens:cut_unknown"),),
    "some tables replaced": (
        trap("kkbc.slices.replacing_tokens:replace_all"),
        trap("psycopg:Connection.execute", nth=9),
    ),
    "all replaced, not committed": (trap("kkbc.slices.replacing_tokens:replace_all", "after"),),
    "committed, the file is the old one": (trap(f"{ROTATION}:_finish"),),
    "the old file has its name": (trap("kkbc.warehouse.kept:put_next"), trap("kkbc.core.tokens:make_secret", "after")),
    "the file is in its place": (trap("kkbc.warehouse.kept:put_next", "after"),),
}

EXECUTE = "psycopg:Connection.execute"
POINTS |= {
    "the room of old rows": (trap(f"{ROTATION}:_rewrite"),),
    "in a table that is written anew": (trap(EXECUTE, "half", nth=2, having="vacuum (full"),),
    "nothing left but the note": (trap(EXECUTE, having="delete from ops.setting"),),
}
# Of a warehouse where somebody was erased.
WITH_A_LIST: dict[str, tuple[Trap, ...]] = {
    "next keys of the list made": (trap(f"{ROTATION}:_next_suppression_keys", "after"),),
    "new tokens made": POINTS["new tokens made"],
    "the list has its new tokens": (trap("kkbc.slices.replacing_tokens:rehash_suppressed", "after"),),
    "all replaced, not committed": POINTS["all replaced, not committed"],
    "committed, the files are the old ones": POINTS["committed, the file is the old one"],
    "the file of the tokens is in its place": POINTS["the file is in its place"],
    "both files are in their places": (trap("kkbc.warehouse.kept:put_next", "after", nth=2),),
}
UNLINK = "pathlib:Path.unlink"
DESTROY = ("keys", "destroy-old", "--why", "a test")
# Of two old keys; the lock beside them is no file that is unlinked.
DESTROYING: dict[str, tuple[Trap, ...]] = {
    "nothing noted": (trap("kkbc.upkeep.keys.standing:note_access"),),
    "noted, nothing removed": (trap("kkbc.upkeep.keys.standing:note_access", "after"),),
    "one is removed": (trap(UNLINK, "after", having="pii."),),
    "both are removed": (trap(UNLINK, "after", nth=2, having="pii."),),
}


def key_of(home: Home) -> tuple[str, bytes]:
    """Version and key of the file in use."""
    version, _, key = (home.folder / "keys" / "pii.key").read_text().strip().rpartition(":")
    return version or "01", bytes.fromhex(key)


def token(nik: str, version: str, key: bytes) -> str:
    """A participant token, as docs/decisions/0004 has it."""
    return version + hmac.new(key, nik.encode(), hashlib.sha256).hexdigest()[2:32]


def figures(home: Home) -> Figures:
    """Every row of every published table, with the NIK in the place of each token, but for numbers of publications."""
    version, key = key_of(home)
    niks = {
        nik for (nik,) in home.query("select nik from vault.registrations union select nik from vault.contributions")
    }
    persons = {token(nik, version, key): f"nik {nik}" for nik in niks}
    found = {}
    tables = home.query(
        "select format('%I.%I', schemaname, tablename) from pg_tables"
        " where schemaname in ('bi', 'bi_detail') order by 1"
    )
    for (table,) in tables:
        rows = []
        for (row,) in home.query(f"select to_jsonb(t) from {table} t"):
            if "participant_token" in row:
                row["participant_token"] = persons[row["participant_token"]]
            rows.append(json.dumps(row, sort_keys=True))
        found[table] = sorted(rows)
    return found


def changed(home: Home, publication_id: int) -> list[Any]:
    """What a publication did to each table."""
    return home.query(
        "select table_schema, table_name, rows, deleted, inserted from ops.publication_table"
        f" where publication_id = {publication_id} order by 1, 2"
    )


def stray(home: Home, version: str) -> list[str]:
    """Tables in which something looks like a token of this version, whatever the column is called."""
    tables = home.query(
        "select format('%I.%I', schemaname, tablename) from pg_tables"
        " where schemaname not in ('pg_catalog', 'information_schema') order by 1"
    )
    looks = rf"\m{version}[0-9a-f]{{30}}\M"
    return [name for (name,) in tables if home.query(f"select 1 from {name} t where t::text ~ '{looks}' limit 1")]


def run(victims: Victims, home: Home, *arguments: str) -> None:
    assert victims.run(home, "command", *arguments) == 0, home.log.read_text()


@dataclass(frozen=True)
class Undisturbed:
    """Two nights without a change of the key: what each published, what the second changed, and a copy of the first."""

    first: Figures
    second: Figures
    changes: list[Any]
    database: str
    folder: Path


@pytest.fixture(scope="module")
def undisturbed_nights(
    pg: server.Server, night_victims: Victims, shared_home: Home, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Undisturbed]:
    """What the two nights publish."""
    publish(night_victims, shared_home, DAYS[0])
    first, folder = figures(shared_home), tmp_path_factory.mktemp("copies") / "one_night"
    name = str(conninfo_to_dict(shared_home.database)["dbname"])
    schema.create_database(pg, "one_night", template=name)
    shutil.copytree(shared_home.folder, folder)
    publish(night_victims, shared_home, DAYS[1])
    yield Undisturbed(first, figures(shared_home), changed(shared_home, 2), "one_night", folder)
    schema.drop_database(pg, "one_night")


@pytest.fixture
def home(pg: server.Server, undisturbed_nights: Undisturbed, deliveries: Path, tmp_path: Path) -> Iterator[Home]:
    """An installation after the first night."""
    shutil.copytree(undisturbed_nights.folder, tmp_path / "home")
    with database(pg, undisturbed_nights.database) as name:
        yield Home(tmp_path / "home", pg.conninfo(name), deliveries, runs=1)


def test_nights_before_and_after_a_change_of_the_key(
    night_victims: Victims, home: Home, undisturbed_nights: Undisturbed
) -> None:
    nights = undisturbed_nights
    noted = home.query("select count(*) from bi_kept.changed_key")
    assert stray(home, "01")
    run(night_victims, home, *ROTATE)
    version, key = key_of(home)
    assert version == "02"
    assert key != bytes.fromhex(KEY)
    assert figures(home) == nights.first
    assert stray(home, "01") == []
    assert home.query("select count(*) from bi_kept.changed_key") == noted
    # The next night takes only what came, as if nothing had been.
    publish(night_victims, home, DAYS[1])
    assert figures(home) == nights.second
    assert changed(home, 2) == nights.changes
    # And again, over what is kept of a publication; back to the state of before both.
    run(night_victims, home, *ROTATE)
    assert figures(home) == nights.second
    assert stray(home, "01") == stray(home, "02") == []
    run(night_victims, home, "rollback", "--to", "1", "--why", "a test")
    assert figures(home) == nights.first
    run(night_victims, home, *ROTATE)
    run(night_victims, home, "rollback", "--to", "2", "--why", "a test")
    assert figures(home) == nights.second
    keys = home.folder / "keys"
    assert {"pii.01.key", "pii.02.key", "pii.03.key", "pii.key"} <= {path.name for path in keys.iterdir()}
    run(night_victims, home, "keys", "destroy-old", "--why", "a test")
    assert [path.name for path in keys.glob("pii*.key")] == ["pii.key"]
    accesses = home.query("select action, why, done_by <> '' from ops.access order by access_id")
    assert accesses == [("keys rotate", "a test", True)] * 3 + [("keys destroy-old", "a test", True)]


@pytest.mark.parametrize("point", POINTS)
def test_killed_at(point: str, night_victims: Victims, home: Home, undisturbed_nights: Undisturbed) -> None:
    assert_killed(night_victims.run(home, "command", *ROTATE, traps=POINTS[point]))
    where = set(stray(home, "01"))
    assert where >= {"raw.registrations", "bi_detail.fct_registration"} or not where
    assert set(stray(home, "02")) <= {"vault.new_token"} or not where
    run(night_victims, home, *ROTATE)
    assert figures(home) == undisturbed_nights.first
    assert (key_of(home)[0], stray(home, "01")) == ("02", [])
    assert home.query("select * from vault.new_token") == []
    assert home.query("select * from ops.setting where name like '%next%'") == []


@pytest.mark.parametrize("kilobytes", [0, 60, 120])
def test_the_disk_of_the_warehouse_is_full(
    kilobytes: int, night_victims: Victims, home_with_small_warehouse: tuple[Home, Path]
) -> None:
    home, disk = home_with_small_warehouse
    tokens.ensure_key(home.folder)
    assert night_victims.run(home, "pull", *home.pull_arguments()) == 0, home.log.read_text()
    ballast = fill(disk, kilobytes * 1024)
    home.forget_log()
    status = night_victims.run(home, "command", *ROTATE)
    text = home.log.read_text()
    assert status == 2, text
    assert "space" in home.complaint(), text
    where = set(stray(home, "01"))
    assert where >= {"raw.registrations", "vault.contributions"} or not where
    assert set(stray(home, "02")) <= {"vault.new_token"} or not where
    ballast.unlink()
    run(night_victims, home, *ROTATE)
    version, key = key_of(home)
    assert (version, stray(home, "01")) == ("02", [])
    persons = home.query("select distinct nik, participant_token from vault.registrations")
    assert all(token(nik, version, key) == found for nik, found in persons)


@pytest.mark.parametrize("point", ["new tokens made", "committed, the file is the old one"])
def test_a_night_after_a_rotation_that_was_killed(
    point: str, night_victims: Victims, home: Home, undisturbed_nights: Undisturbed
) -> None:
    assert_killed(night_victims.run(home, "command", *ROTATE, traps=POINTS[point]))
    publish(night_victims, home, DAYS[1])
    assert figures(home) == undisturbed_nights.second
    assert changed(home, 2) == undisturbed_nights.changes
    run(night_victims, home, *ROTATE)
    assert figures(home) == undisturbed_nights.second
    assert (key_of(home)[0], stray(home, "01")) == ("02", [])


def test_a_change_between_the_pull_and_the_build_of_a_night(
    night_victims: Victims, home: Home, undisturbed_nights: Undisturbed
) -> None:
    pull = home.pull_arguments(day=DAYS[1], run_id="second")
    assert night_victims.run(home, "pull", *pull) == 0, home.log.read_text()
    run(night_victims, home, *ROTATE)
    assert night_victims.run(home, "build", "second") == 0, home.log.read_text()
    assert figures(home) == undisturbed_nights.second
    assert changed(home, 2) == undisturbed_nights.changes
    assert stray(home, "01") == []


@pytest.fixture(scope="module")
def persons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that names a person of whom rows are loaded."""
    path = tmp_path_factory.mktemp("request") / "niks.txt"
    path.touch(mode=0o600)
    path.write_text(f"{nik(3)}\n")
    return path


def erase(night_victims: Victims, home: Home, persons: Path) -> None:
    """Erases the person, and what is published stays: figures, and how many persons there are."""
    before = counted(home)
    tokens.ensure_key(home.folder)  # those of marks and of the list, which nothing needed before
    run(night_victims, home, "erase", "--file", str(persons), "--why", "requested")
    assert counted(home) == before


def counted(home: Home) -> list[Any]:
    """Every published row but for its token, and how many tokens there are."""
    facts = [
        home.query(f"select (to_jsonb(t) - 'participant_token')::text from bi_detail.{table} t order by 1")
        for table in ("fct_registration", "fct_contribution", "dim_participant")
    ]
    kpis = home.query("select t::text from bi.kpi_branch_daily t order by 1")
    return [*facts, kpis, home.query("select count(distinct participant_token) from bi_detail.fct_registration")]


@pytest.mark.parametrize("point", WITH_A_LIST)
def test_killed_where_somebody_was_erased(point: str, night_victims: Victims, home: Home, persons: Path) -> None:
    erase(night_victims, home, persons)
    before = counted(home)
    assert_killed(night_victims.run(home, "command", *ROTATE, traps=WITH_A_LIST[point]))
    assert counted(home) == before
    run(night_victims, home, *ROTATE)
    assert counted(home) == before
    assert (key_of(home)[0], stray(home, "01")) == ("02", [])
    assert home.query("select * from vault.new_token") == []
    keys = sorted(path.name for path in (home.folder / "keys").glob("*.key"))
    assert [name for name in keys if "next" in name] == []
    assert len((home.folder / "keys" / "suppression.key").read_text().split()) == 2
    # The list still knows the person: the next night's slices are without them.
    publish(night_victims, home, DAYS[1])
    assert home.query(f"select count(*) from vault.registrations where nik = '{nik(3)}'") == [(0,)]
    assert home.query(f"select count(*) from vault.contributions where nik = '{nik(3)}'") == [(0,)]


@pytest.mark.parametrize("point", ["new tokens made", "committed, the file is the old one"])
def test_an_erasure_after_a_rotation_that_was_killed(
    point: str, night_victims: Victims, home: Home, persons: Path
) -> None:
    """Neither the old token of the person is left nor the one that was made for them already."""
    assert_killed(night_victims.run(home, "command", *ROTATE, traps=POINTS[point]))
    theirs = token(nik(3), "01", bytes.fromhex(KEY))
    made = home.query(f"select new_token from vault.new_token where old_token = '{theirs}'")
    assert bool(made) == (point == "new tokens made")
    erase(night_victims, home, persons)
    left = [new for (new,) in home.query("select new_token from vault.new_token")]
    assert bool(left) == bool(made)
    assert not {new for (new,) in made} & set(left)
    run(night_victims, home, *ROTATE)
    assert (key_of(home)[0], stray(home, "01")) == ("02", [])


@pytest.mark.parametrize("point", DESTROYING)
def test_old_keys_that_are_destroyed_when_it_is_killed(
    point: str, night_victims: Victims, home: Home, undisturbed_nights: Undisturbed
) -> None:
    for _ in range(2):
        run(night_victims, home, *ROTATE)
    assert_killed(night_victims.run(home, "command", *DESTROY, traps=DESTROYING[point]))
    if point == "both are removed":
        home.log.unlink()
        assert night_victims.run(home, "command", *DESTROY) == 2
        assert home.complaint().startswith("kkbc: there is no old key here")
    else:
        run(night_victims, home, *DESTROY)
    assert [path.name for path in (home.folder / "keys").glob("pii*.key")] == ["pii.key"]
    assert key_of(home)[0] == "03"
    assert figures(home) == undisturbed_nights.first
