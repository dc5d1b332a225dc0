"""Builds that follow what arrived: after every night of a random history, the marts of a full rebuild."""

import json
import random
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

import psycopg
import pytest

from kkbc import built, night, verifying
from kkbc.building import _home, build, days, invoke
from kkbc.errors import UserError
from kkbc.publishing import published_models
from kkbc.verifying import ASIDE
from kkbc.warehouse import connect
from tests.dbt_project.conftest import read_mart
from tests.dbt_project.histories import RUN, History, loaded_world
from tests.dbt_project.recompute import Recomputed
from tests.dbt_project.test_all_marts import MARTS

FIRST, START, LAST = date(2024, 1, 10), date(2024, 2, 3), date(2024, 4, 30)
SEEDS = (1, 2)
NIGHTS = 6


class Rebuild:
    """All marts made anew aside, by the statements that dbt compiles for a full build."""

    def __init__(self, conn: psycopg.Connection, as_of: date) -> None:
        """One full build by dbt itself; the statements serve later days with their day put in."""
        for layer in ("seeds", "models"):
            results = invoke(conn, layer, days(as_of, FIRST), schema=ASIDE, tests=False)
            assert not [result for result in results if result.failed]
        manifest = json.loads((_home() / "target" / ASIDE / "manifest.json").read_text())
        nodes = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
        self.day = as_of
        self.statements: dict[str, tuple[str, str, str]] = {}
        while len(self.statements) < len(nodes):
            for node in nodes:
                parents = [p for p in node["depends_on"]["nodes"] if p.startswith("model.")]
                if node["unique_id"] not in self.statements and all(p in self.statements for p in parents):
                    kind = "view" if node["config"]["materialized"] == "view" else "table"
                    path = _home() / "target" / ASIDE / "compiled" / node["package_name"] / node["original_file_path"]
                    place = f'"{node["schema"]}"."{node["name"]}"'
                    self.statements[node["unique_id"]] = (kind, place, path.read_text())

    def run(self, conn: psycopg.Connection, as_of: date) -> None:
        """Makes all marts anew as of that day."""
        for kind, place, _ in reversed(self.statements.values()):
            conn.execute(f"drop {kind} if exists {place} cascade")  # type: ignore[arg-type]
        for kind, place, text in self.statements.values():
            dated = text.replace(f"cast('{self.day}' as date)", f"cast('{as_of}' as date)")
            conn.execute(f"create {kind} {place} as {dated}")  # type: ignore[arg-type]


def differing(conn: psycopg.Connection) -> list[str]:
    """A line for each mart and month that is not what the rebuild aside has."""
    models = {model.name: model for model in published_models()}
    compared = [row for name in sorted(models) for row in verifying._compare(conn, models[name])]
    assert {row.mart for row in compared} == set(models)
    return [f"{row.mart} {row.month}: {row.differing} rows" for row in compared if not row.equal]


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection]:
    with verifying.aside(), connect("transformer", autocommit=True) as opened:
        yield opened


@pytest.fixture
def empty(database: str) -> None:
    """No deliveries and nothing built; the seeds stay."""
    with connect() as owner:
        owner.execute(
            "truncate raw.registrations, raw.contributions, raw.activities, raw.targets, vault.registrations,"
            " vault.contributions, ops.run, ops.build, ops.slice, ops.quarantine, ops.branch, ops.built cascade"
        )


def build_night(as_of: date, *, published: bool = True) -> int:
    """Opens a build over what came and builds it; its gate may fail."""
    with connect() as owner:
        owner.execute("update ops.run set as_of = %s, outcome = 'running' where run_id = %s", [as_of, RUN])
        owner.execute(
            "insert into ops.setting (name, value) values ('first_business_date', %s) on conflict do nothing",
            [FIRST.isoformat()],
        )
    build_id = night.open_build(RUN)
    for layer in ("seeds", "models"):
        build(layer, as_of=as_of, first_business_date=FIRST, build_id=build_id)
    if published:
        with connect() as owner:
            owner.execute("update ops.build set outcome = 'published' where build_id = %s", [build_id])
    else:
        night.fail_build(build_id, "a gate", gate=True)
    return build_id


@pytest.mark.parametrize("seed", SEEDS)
def test_every_night_leaves_the_marts_of_a_full_rebuild(conn: psycopg.Connection, empty: None, seed: int) -> None:
    chance = random.Random(seed)
    history = History(chance, FIRST, LAST)
    as_of, rebuild = START, None
    with connect() as owner:
        history.open(owner)
    touched = []
    for number in range(NIGHTS):
        with connect("loader") as loader:
            loader.execute("set role none")
            history.night(loader, as_of)
        build_night(as_of, published=chance.random() < 0.7)
        rebuild = rebuild or Rebuild(conn, as_of)
        rebuild.run(conn, as_of)
        assert differing(conn) == [], f"seed {seed}, night {number}, as of {as_of}"
        touched.append(read_count(conn, "int_participants_touched"))
        as_of = min(LAST, as_of + timedelta(days=chance.choice([0, 1, 1, 9, 30])))
    # The first build makes everything, the others go on from it.
    assert touched[0] == 0
    assert any(touched[1:])
    with connect() as owner:
        world = loaded_world(owner)
    stands_at = built.standing(conn)
    assert stands_at is not None
    expected = Recomputed(world, FIRST, stands_at.as_of)
    for mart in MARTS:
        found, wanted = read_mart(mart), getattr(expected, mart)()
        assert set(found) == set(wanted), mart
        for key, row in wanted.items():
            assert found[key] == {
                name: pytest.approx(value, rel=1e-14) if isinstance(value, float) else value
                for name, value in row.items()
            }, (mart, key)


def read_count(conn: psycopg.Connection, table: str) -> int:
    row = conn.execute(f"select count(*) from next.{table}").fetchone()  # type: ignore[arg-type]
    assert row is not None
    return int(row[0])
