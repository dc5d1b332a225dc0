"""A migrated database for each test module, and building over it: starting dbt is too dear to do for every test."""

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pytest

from kkbc.building import build
from kkbc.settings import get_settings
from kkbc.warehouse import connect, schema, server
from tests.dbt_project.raw import World

Mart = dict[tuple[Any, ...], dict[str, Any]]


@pytest.fixture(scope="module")
def database(pg: server.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty warehouse, the current one for the length of a module; yields the name of the database."""
    name = f"dbt_{tmp_path_factory.mktemp('dbt').name}"
    schema.create_database(pg, name, template="template_kkbc")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KKBC_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("KKBC_DATABASE_URL", pg.conninfo(name))
        get_settings.cache_clear()
        yield name
    get_settings.cache_clear()
    schema.drop_database(pg, name)


@pytest.fixture(scope="module")
def build_world(database: str) -> Callable[[World, date, date], Callable[[str], Mart]]:
    """Writes a world, builds it from a first day to as_of, and gives a reader of the marts."""

    def run(world: World, first: date, as_of: date) -> Callable[[str], Mart]:
        with connect() as conn:
            world.write(conn)
        for layer in ("seeds", "models"):
            build(layer, as_of=as_of, first_business_date=first)
        return read_mart

    return run


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
