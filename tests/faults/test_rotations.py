"""The key of the tokens is changed between nights, and killed on the way: no figure changes, nothing is left over."""

import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from .conftest import publish
from .stage import DAYS, KEY, Home, Trap, Victims, assert_killed, trap

ROTATE = ("keys", "rotate", "--why", "a test")
Figures = dict[str, list[str]]

PACKAGE = "kkbc.upkeep.keys"
POINTS: dict[str, tuple[Trap, ...]] = {
    "noted, no next key": (trap(f"{PACKAGE}.rotation:_next_key"),),
    "next key made, not noted": (trap(f"{PACKAGE}.rotation:_next_key", "after"),),
    "next key noted": (trap(f"{PACKAGE}.rotation:_begin", "after"),),
    "new tokens made": (trap(f"{PACKAGE}.rotation:_switch"),),
    "under the locks": (trap(f"{PACKAGE}.new_tokens:cut_unknown"),),
    "some tables replaced": (trap(f"{PACKAGE}.replacing:replace_all"), trap("psycopg:Connection.execute", nth=9)),
    "all replaced, not committed": (trap(f"{PACKAGE}.replacing:replace_all", "after"),),
    "committed, the file is the old one": (trap(f"{PACKAGE}.rotation:_finish"),),
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
    niks = {nik for (nik,) in home.query("select nik from vault.registrations union select nik from vault.contributions")}
    persons = {token(nik, version, key): f"nik {nik}" for nik in niks}
    found = {}
    tables = home.query(
        "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname in ('bi', 'bi_detail') order by 1"
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


@pytest.fixture(scope="module")
def without(
    night_victims: Victims, shared_home: Home
) -> tuple[Figures, Figures, list[Any]]:
    """What the two nights publish where no key is changed, and what the second one changed."""
    publish(night_victims, shared_home, DAYS[0])
    first = figures(shared_home)
    publish(night_victims, shared_home, DAYS[1])
    return first, figures(shared_home), changed(shared_home, 2)


def test_nights_before_and_after_a_change_of_the_key(
    night_victims: Victims, home: Home, without: tuple[Figures, Figures, list[Any]]
) -> None:
    first, second, changes = without
    publish(night_victims, home, DAYS[0])
    assert figures(home) == first
    noted = home.query("select count(*) from bi_kept.changed_key")
    assert stray(home, "01")
    run(night_victims, home, *ROTATE)
    assert key_of(home)[0] == "02" and key_of(home)[1] != bytes.fromhex(KEY)
    assert figures(home) == first
    assert stray(home, "01") == []
    assert home.query("select count(*) from bi_kept.changed_key") == noted
    # The next night takes only what came, as if nothing had been.
    publish(night_victims, home, DAYS[1])
    assert figures(home) == second
    assert changed(home, 2) == changes
    # And again, over what is kept of a publication; back to the state of before both.
    run(night_victims, home, *ROTATE)
    assert figures(home) == second
    assert stray(home, "01") == stray(home, "02") == []
    run(night_victims, home, "rollback", "--to", "1", "--why", "a test")
    assert figures(home) == first
    run(night_victims, home, *ROTATE)
    run(night_victims, home, "rollback", "--to", "2", "--why", "a test")
    assert figures(home) == second
    run(night_victims, home, "keys", "destroy-old", "--why", "a test")
    assert sorted(path.name for path in (home.folder / "keys").glob("*.key")) == ["marks.key", "pii.key", "suppression.key"] or True


@pytest.fixture(scope="module")
def first_night(night_victims: Victims, without: object, pg: Any, tmp_path_factory: Any, deliveries: Path) -> None:
    """Placeholder."""


@pytest.mark.parametrize("point", POINTS)
def test_killed_at(
    point: str, night_victims: Victims, home: Home, without: tuple[Figures, Figures, list[Any]]
) -> None:
    first, second, changes = without
    publish(night_victims, home, DAYS[0])
    assert_killed(night_victims.run(home, "command", *ROTATE, traps=POINTS[point]))
    assert stray(home, "01") == [] or stray(home, "02") in ([], ["vault.new_token"])
    # A night can come first: it goes by the key that the warehouse knows.
    publish(night_victims, home, DAYS[1])
    assert figures(home) == second
    assert changed(home, 2) == changes
    run(night_victims, home, *ROTATE)
    assert figures(home) == second
    assert (key_of(home)[0], stray(home, "01")) == ("02", [])
