"""A migrated database for each test module, and building over it: starting dbt is too dear to do for every test."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import pytest

from kkbc import publishing
from kkbc.core.settings import get_settings
from kkbc.marts.runner import build
from kkbc.warehouse import connect, server
from tests import databases
from tests.dbt_project.raw import World

Mart = dict[tuple[Any, ...], dict[str, Any]]


@contextmanager
def current(environment: dict[str, str]) -> Iterator[None]:
    """Makes the warehouse of an environment the current one."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        get_settings.cache_clear()
        yield
    get_settings.cache_clear()


@contextmanager
def warehouse(pg: server.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An empty warehouse in a home of its own, for as long as the block; yields its environment."""
    with databases.database(pg) as name:
        yield {"KKBC_HOME": str(tmp_path_factory.mktemp("home")), "KKBC_DATABASE_URL": pg.conninfo(name)}


@pytest.fixture(scope="module")
def database(pg: server.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty warehouse, the current one for the length of a module; yields its connection string."""
    with warehouse(pg, tmp_path_factory) as environment, current(environment):
        yield environment["KKBC_DATABASE_URL"]


@pytest.fixture(scope="session")
def built_by_chance(
    pg: server.Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[World, dict[str, str]]]:
    """The world of test_all_marts, built once for all modules that only read it, and its environment."""
    from tests.dbt_project.test_all_marts import AS_OF, FIRST, world

    made = world(random.Random(2024))
    with warehouse(pg, tmp_path_factory) as environment:
        with current(environment):
            write_and_build(made, FIRST, AS_OF)
        yield made, environment


@pytest.fixture(scope="module")
def chance_world(built_by_chance: tuple[World, dict[str, str]]) -> Iterator[World]:
    """The world of chance, whose warehouse is the current one for the length of a module."""
    made, environment = built_by_chance
    with current(environment):
        yield made


@pytest.fixture(scope="module")
def build_world(database: str) -> Callable[[World, date, date], Callable[[str], Mart]]:
    """Writes a world, builds it from a first day to as_of, and gives a reader of the marts."""

    def run(world: World, first: date, as_of: date) -> Callable[[str], Mart]:
        write_and_build(world, first, as_of)
        return read_mart

    return run


def write_and_build(world: World, first: date, as_of: date) -> None:
    """Writes a world into the current warehouse and builds its marts."""
    with connect() as conn:
        world.write(conn)
    for layer in ("seeds", "models"):
        build(layer, as_of=as_of, first_business_date=first)


def publish_built(first: date, as_of: date) -> None:
    """Publishes what was built, as a build of its own."""
    with connect("transformer") as conn:
        row = conn.execute(
            "insert into ops.build (as_of, first_business_date) values (%s, %s) returning build_id", [as_of, first]
        ).fetchone()
        assert row is not None
    with connect("publisher") as conn:
        publishing.publish_marts(conn, build_id=row[0], as_of=as_of)


def read_mart(table: str) -> Mart:
    """The rows of a built model by primary key, as the database has it."""
    with connect("transformer") as conn:
        key = [
            row[0]
            for row in conn.execute(
                "select a.attname from pg_index i"
                " cross join unnest(i.indkey::int[]) with ordinality k (attnum, place)"
                " join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum"
                " where i.indrelid = to_regclass('next.' || %s) and i.indisprimary order by k.place",
                [table],
            ).fetchall()
        ]
        cursor = conn.execute(f'select * from next."{table}"')  # type: ignore[arg-type]
        names = [column.name for column in cursor.description or []]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return {tuple(row[k] for k in key): row for row in rows}
