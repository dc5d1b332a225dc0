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
from .stage import DAYS, KEY, Home, Trap, Victims, assert_killed, fill, trap

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
