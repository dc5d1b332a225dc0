"""Tables of feeds are made from contracts: those of the first feeds as the migrations made them, and others."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from psycopg import sql
from sqlalchemy import create_engine

from kkbc.core.errors import UserError
from kkbc.core.settings import PROJECT_ROOT, get_settings
from kkbc.exchange.contracts import feeds, load_contract
from kkbc.warehouse import connect, migrate, schema
from kkbc.warehouse import feeds as feed_tables

# What the migrations made besides: an index that marts ask for, and a column that came to rows that were there.
MARTS_ASK_FOR = ("raw.registrations_by_key", "raw.contributions_by_key")
CAME_LATER = ("vault.registrations", "declared_income")

# Of each table and view: kind, partition key, definition, grants, columns, indexes.
CATALOGUE = """
select c.oid::regclass::text, c.relkind::text, pg_get_partkeydef(c.oid), pg_get_viewdef(c.oid), c.relacl::text,
    array(select (a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid))::text
        from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum),
    array(select i.indexrelid::regclass::text || pg_get_indexdef(i.indexrelid) from pg_index i where i.indrelid = c.oid
        order by 1)
from pg_class c
where c.relnamespace in ('raw'::regnamespace, 'vault'::regnamespace, 'audit'::regnamespace)
    and c.relkind in ('p', 'v') and not c.relispartition and (c.relkind = 'p' or c.relname like 'loaded\\_%s')
order by 1
"""


def catalogue() -> dict[str, tuple[Any, ...]]:
    with connect() as conn:
        rows = conn.execute(CATALOGUE.replace("%s", "%").encode()).fetchall()
    return {name: tuple(rest) for name, *rest in rows if name != "audit.loaded_slices"}


@pytest.fixture
def contracts(warehouse: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the contracts to change."""
    folder = tmp_path / "contracts"
    shutil.copytree(PROJECT_ROOT / "contracts", folder)
    monkeypatch.setenv("KKBC_CONTRACTS", str(folder))
    get_settings.cache_clear()
    load_contract.cache_clear()
    yield folder
    load_contract.cache_clear()


def change(folder: Path, feed: str, *pairs: tuple[str, str], to: str | None = None) -> None:
    text = (folder / f"{feed}.odcs.yaml").read_text(encoding="utf-8")
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    (folder / f"{to or feed}.odcs.yaml").write_text(text, encoding="utf-8")
    load_contract.cache_clear()


def as_the_migrations_leave_it() -> None:
    """The views of 0018 again, from SQL alone: what was made from contracts since is out."""
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    engine = create_engine("postgresql+psycopg://", creator=connect)
    steps: tuple[tuple[Callable[[Config, str], None], str], ...] = (
        (command.downgrade, "0016"),
        (command.upgrade, "head"),
    )
    for direction, to in steps:
        with engine.begin() as conn:
            config.attributes["connection"] = conn
            direction(config, to)
    engine.dispose()


def test_the_first_feeds_get_what_the_migrations_made(warehouse: str) -> None:
    as_the_migrations_leave_it()
    migrated = catalogue()
    assert len(migrated) == 4 + 3 + 4
    with connect() as conn:
        for feed in feeds():
            table = sql.Identifier("raw", load_contract(feed).table)
            conn.execute(sql.SQL("drop table {} cascade").format(table))
            conn.execute(sql.SQL("drop table if exists {}").format(sql.Identifier("vault", load_contract(feed).table)))
        feed_tables.make(conn)
    made = catalogue()
    assert set(made) == set(migrated)
    for name, (*found, columns, indexes) in made.items():
        *wanted, migrated_columns, migrated_indexes = migrated[name]
        assert found == wanted, name
        if name == CAME_LATER[0]:
            columns = [c.replace(",t,", ",f,") if c.startswith(f"({CAME_LATER[1]},") else c for c in columns]
        assert columns == migrated_columns, name
        assert indexes == [i for i in migrated_indexes if i.partition("CREATE")[0] not in MARTS_ASK_FOR], name


def test_migrating_again_makes_nothing(warehouse: str) -> None:
    with connect() as conn:
        before = conn.execute("select oid from pg_class where oid >= 16384 order by 1").fetchall()
        rows = conn.execute("select ctid, xmin, * from ops.feed order by feed").fetchall()
    migrate()
    with connect() as conn:
        assert conn.execute("select oid from pg_class where oid >= 16384 order by 1").fetchall() == before
        assert conn.execute("select ctid, xmin, * from ops.feed order by feed").fetchall() == rows
        listed = conn.execute("select feed, sender, has_nik, has_contact, expected_from from ops.feed order by 1")
        assert listed.fetchall() == [
            ("iuran", "branch", True, False, None),
            ("kegiatan", "branch", False, False, None),
            ("pendaftaran", "branch", True, True, None),
            ("target", "head_office", False, False, None),
        ]


def test_a_feed_of_its_own_gets_tables_and_partitions_of_months_that_others_have(contracts: Path) -> None:
    with connect("loader") as conn:
        conn.execute("select ops.ensure_partitions('2023-12-11'), ops.ensure_partitions('2001-01-01')")
    other = (
        ("name: contributions", "name: gifts"),
        ("physicalName: iuran\n", "physicalName: hibah\n"),
        ("property: position", "property: expected_from"),
        ("value: 2\n", "value: 2024-01-01\n"),
    )
    change(contracts, "iuran", *other, to="hibah")
    migrate()
    found = catalogue()
    like = {name.replace("gifts", "contributions"): value for name, value in found.items() if "gifts" in name}
    assert set(like) == {"raw.contributions", "vault.contributions", "audit.loaded_contributions"}
    for name, (kind, key, _, acl, columns, _) in like.items():
        assert (kind, key, acl, columns) == tuple(found[name][i] for i in (0, 1, 3, 4)), name
    with connect("loader") as conn:
        conn.execute("select ops.ensure_partitions('2023-12-12'), ops.ensure_partitions('2002-02-02')")
        row = conn.execute(
            "select to_regclass('raw.gifts_2023_12') is not null, to_regclass('vault.gifts_before_2014') is not null"
        ).fetchone()
        assert row == (True, True)
        expected = conn.execute("select sender, expected_from::text from ops.feed where feed = 'hibah'").fetchone()
        assert expected == ("branch", "2024-01-01")
        comment = conn.execute("select obj_description('vault.gifts'::regclass)").fetchone()
    assert comment == ("Feed hibah, who is behind a row: One row for each state of a payment that the branch reports.",)

    (contracts / "hibah.odcs.yaml").unlink()
    load_contract.cache_clear()
    migrate()
    with connect() as conn:  # rows are nobody's to drop
        assert conn.execute("select to_regclass('raw.gifts') is not null").fetchone() == (True,)
        assert conn.execute("select from ops.feed where feed = 'hibah'").fetchone() is None


COST = "      - name: cost\n        physicalName: biaya\n"
WEATHER = "      - {name: weather, physicalName: cuaca, physicalType: code, required: true}\n"


def test_a_column_that_a_contract_gets_is_added(contracts: Path) -> None:
    change(contracts, "kegiatan", (COST, WEATHER + COST))
    migrate()
    found = catalogue()
    assert found["raw.activities"][4][-1] == "(weather,text,f,)"  # rows of before have none
    assert any(column.startswith("(weather,") for column in found["audit.loaded_activities"][4])
    assert "weather" in found["audit.loaded_activities"][2]
    with connect() as conn:
        assert conn.execute(
            "select has_table_privilege('auditor', 'audit.loaded_activities', 'select')"
        ).fetchone() == (True,)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: cost\n", "name: price\n", "raw.activities has a column cost, and the contract of kegiatan puts none"),
        (
            "physicalType: idr\n        businessName: Biaya",
            "physicalType: text\n        businessName: Biaya",
            "column cost of raw.activities is bigint, and text by the contract of kegiatan",
        ),
        (
            "description: Place.\n        classification: personal",
            "description: Place.\n        classification: internal",
            "vault.activities has a column place, and the contract of kegiatan puts none there",
        ),
    ],
)  # fmt: skip
def test_what_a_person_must_decide_is_reported_and_nothing_is_changed(
    contracts: Path, old: str, new: str, message: str
) -> None:
    before = catalogue()
    change(contracts, "kegiatan", (old, new))
    with pytest.raises(UserError, match=re.escape(message)):
        migrate()
    assert catalogue() == before
