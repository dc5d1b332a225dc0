"""Row rules on every published table: each reader's rows are those that a computation from the seeds alone allows."""

import csv
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from kkbc.core.bi_tickets import connection_options
from kkbc.core.settings import get_settings
from kkbc.marts.runner import DBT_PROJECT
from kkbc.upkeep import bi_logins
from kkbc.warehouse import connect
from tests.dbt_project.conftest import publish_built
from tests.dbt_project.raw import World
from tests.dbt_project.test_all_marts import AS_OF, FIRST

LOGIN, GATEWAY = "kkbc_test_pembaca", "kkbc_test_superset"
Rows = Counter[tuple[Any, ...]]


def branches_of(kanwil_id: str) -> set[str]:
    """The branches of a regional office, by the reference table."""
    with (DBT_PROJECT / "seeds" / "branches.csv").open(encoding="utf-8", newline="") as file:
        return {row["branch_id"] for row in csv.DictReader(file) if row["kanwil_id"] == kanwil_id}


@pytest.fixture(scope="module")
def tables(chance_world: World) -> Iterator[dict[str, tuple[list[str], Rows]]]:
    """Columns and rows of every table that is published in bi, read past all policies; logins to read them by."""
    publish_built(FIRST, AS_OF)
    with connect() as owner:
        owner.execute(f"create role {LOGIN} login in role branch_bi")  # type: ignore[arg-type]
        owner.execute(f"create role {GATEWAY} login in role branch_bi, bi_gateway")  # type: ignore[arg-type]
        names = owner.execute("select tablename from pg_tables where schemaname = 'bi' order by 1").fetchall()
        found = {name: read(owner, name) for (name,) in names}
    yield found
    with connect() as owner:
        for login in (LOGIN, GATEWAY):
            owner.execute(sql.SQL("drop owned by {0}; drop role {0}").format(sql.Identifier(login)))


def read(conn: psycopg.Connection, table: str) -> tuple[list[str], Rows]:
    cursor = conn.execute(sql.SQL("select * from bi.{}").format(sql.Identifier(table)))
    return [column.name for column in cursor.description or []], Counter(cursor.fetchall())


def allowed(columns: list[str], rows: Rows, branches: set[str] | None) -> Rows:
    """What the rules leave of a table; branches: None for all."""
    if branches is None or "branch_id" not in columns:
        return rows
    place = columns.index("branch_id")
    return Counter({row: times for row, times in rows.items() if row[place] in branches})


@pytest.mark.parametrize("way", ["login", "gateway"])
@pytest.mark.parametrize("level", ["branch", "branches", "region", "nation", "unknown"])
def test_each_reader_sees_the_rows_that_are_meant_for_it(
    tables: dict[str, tuple[list[str], Rows]], chance_world: World, level: str, way: str
) -> None:
    own = sorted(chance_world.branches)[:2]
    office = next(f"KW{n:02}" for n in range(1, 12) if own[0] in branches_of(f"KW{n:02}"))
    places, branches = {
        "branch": (own[:1], set(own[:1])),
        "branches": (own, set(own)),
        "region": ([office], branches_of(office)),
        "nation": (["all"], None),
        "unknown": ([], set[str]()),
    }[level]
    reader = LOGIN if way == "login" else f"{level}@example"
    if places:
        bi_logins.grant(reader, places, who="tester")
    options = connection_options(reader, bi_logins.gateway_key()) if way == "gateway" else ""
    warehouse = get_settings().database_url
    with psycopg.connect(make_conninfo(warehouse, user=LOGIN if way == "login" else GATEWAY, options=options)) as conn:
        for table, (columns, rows) in tables.items():
            wanted = allowed(columns, rows, branches) if places else Counter[Any]()
            assert read(conn, table)[1] == wanted, table
    if places:
        bi_logins.revoke(reader, [], who="tester")


def test_the_rules_have_something_to_hide(tables: dict[str, tuple[list[str], Rows]], chance_world: World) -> None:
    """All but national tables have rows of several branches; no slice was delivered in this world."""
    assert len(tables) > 12
    by_branch = {name: (columns, rows) for name, (columns, rows) in tables.items() if "branch_id" in columns}
    assert len(by_branch) > 9
    for name, (columns, rows) in by_branch.items():
        place = columns.index("branch_id")
        assert len({row[place] for row in rows}) > 1 or name == "publication_slice", name
