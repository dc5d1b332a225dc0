"""Builds that follow what arrived: after every night of a random history, the marts of a full rebuild."""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from kkbc import nights
from kkbc.cli.application import app
from kkbc.core.errors import UserError
from kkbc.marts import runner, state, verify
from kkbc.marts.runner import build, days, invoke, target_folder
from kkbc.marts.verify import ASIDE, Compared, verify_against_rebuild
from kkbc.publishing import published_models
from kkbc.warehouse import connect
from tests.dbt_project.conftest import read_mart
from tests.dbt_project.histories import RUN, History, loaded_world
from tests.dbt_project.recompute import Recomputed
from tests.dbt_project.test_all_marts import MARTS

FIRST, START, LAST = date(2024, 1, 10), date(2024, 2, 3), date(2024, 4, 30)
# Seed and nights; the second is the project's run of 20 nights, see docs/performance.md.
HISTORIES = (pytest.param(1, 4, id="1-4"), pytest.param(2, 20, id="2-20", marks=pytest.mark.long))


class Rebuild:
    """All marts rebuilt aside, by the statements that dbt compiles for a full build."""

    def __init__(self, conn: psycopg.Connection, as_of: date) -> None:
        """One full build by dbt itself; the statements serve later days with their day put in."""
        for layer in ("seeds", "models"):
            results = invoke(conn, layer, days(as_of, FIRST), schema=ASIDE, tests=False)
            assert not [result for result in results if result.failed]
        manifest = json.loads((target_folder(ASIDE) / "manifest.json").read_text())
        nodes = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
        self.day = as_of
        self.statements: dict[str, tuple[str, str, str]] = {}
        while len(self.statements) < len(nodes):
            for node in nodes:
                parents = [p for p in node["depends_on"]["nodes"] if p.startswith("model.")]
                if node["unique_id"] not in self.statements and all(p in self.statements for p in parents):
                    kind = "view" if node["config"]["materialized"] == "view" else "table"
                    path = target_folder(ASIDE) / "compiled" / node["package_name"] / node["original_file_path"]
                    place = f'"{node["schema"]}"."{node["name"]}"'
                    self.statements[node["unique_id"]] = (kind, place, path.read_text())

    def run(self, conn: psycopg.Connection, as_of: date) -> None:
        """Rebuilds all marts as of that day."""
        for kind, place, _ in reversed(self.statements.values()):
            conn.execute(f"drop {kind} if exists {place} cascade")  # type: ignore[arg-type]
        for kind, place, text in self.statements.values():
            dated = text.replace(f"cast('{self.day}' as date)", f"cast('{as_of}' as date)")
            conn.execute(f"create {kind} {place} as {dated}")  # type: ignore[arg-type]


def differing(conn: psycopg.Connection) -> list[str]:
    """A line for each mart and month that is not what the rebuild aside has."""
    models = {model.name: model for model in published_models()}
    compared = [row for name in sorted(models) for row in verify.compare(conn, models[name])]
    assert {row.mart for row in compared} == set(models)
    return [f"{row.mart} {row.month}: {row.differing} rows" for row in compared if not row.equal]


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection]:
    with verify.aside(), connect("transformer", autocommit=True) as opened:
        yield opened


@pytest.fixture
def empty(database: str) -> None:
    """No deliveries and nothing built; the seeds stay."""
    with connect() as owner:
        owner.execute(
            "truncate raw.registrations, raw.contributions, raw.activities, raw.targets, vault.registrations,"
            " vault.contributions, ops.run, ops.build, ops.slice, ops.quarantine, ops.branch, ops.built,"
            " vault.restricted cascade"
        )


def build_night(as_of: date, *, published: bool = True) -> int:
    """Opens a build over what came and builds it; its gate may fail."""
    with connect() as owner:
        owner.execute("update ops.run set as_of = %s, outcome = 'running' where run_id = %s", [as_of, RUN])
        owner.execute(
            "insert into ops.setting (name, value) values ('first_business_date', %s) on conflict do nothing",
            [FIRST.isoformat()],
        )
    build_id = nights.open_build(RUN)
    for layer in ("seeds", "models"):
        build(layer, as_of=as_of, first_business_date=FIRST, build_id=build_id)
    if published:
        with connect() as owner:
            owner.execute("update ops.build set outcome = 'published' where build_id = %s", [build_id])
    else:
        nights.fail_build(build_id, "a gate", gate=True)
    return build_id


@pytest.mark.parametrize(("seed", "nights"), HISTORIES)
def test_every_night_leaves_the_marts_of_a_full_rebuild(
    conn: psycopg.Connection, empty: None, seed: int, nights: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tests of dbt take a third of a small build, and nothing here is about them.
    monkeypatch.setattr(runner, "invoke", partial(invoke, tests=False))
    chance = random.Random(seed)
    history = History(chance, FIRST, LAST)
    as_of, rebuild = START, None
    # Leaps, so that days pass on which coverage starts of people of whom nothing came.
    steps = chance.sample([0, 9, 15, 30] + [chance.randint(0, 2) for _ in range(nights - 4)], nights)
    with connect() as owner:
        history.open(owner)
    touched, restricted = [], []
    for number in range(nights):
        with connect("loader") as loader:
            loader.execute("set role none")
            history.night(loader, as_of)
        build_night(as_of, published=chance.random() < 0.7)
        rebuild = rebuild or Rebuild(conn, as_of)
        rebuild.run(conn, as_of)
        assert differing(conn) == [], f"seed {seed}, night {number}, as of {as_of}"
        touched.append(read_count(conn, "int_participants_touched"))
        restricted.append(read_count(conn, "int_participants_restricted where is_restricted"))
        as_of = min(LAST, as_of + timedelta(days=steps.pop()))
    # The first build makes everything, the others go on from it.
    assert touched[0] == 0
    assert any(touched[1:])
    assert any(restricted)
    with connect() as owner:
        world = loaded_world(owner)
    stands_at = state.standing(conn)
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


def test_verify_names_mart_month_and_rows(conn: psycopg.Connection, empty: None) -> None:
    with pytest.raises(UserError, match="no complete build"):
        verify_against_rebuild()
    with connect() as owner:
        history = History(random.Random(0), FIRST, LAST)
        history.open(owner)
        history.night(owner, START)
    build_id = build_night(START)
    with connect() as owner:
        owner.execute("update ops.slice set build_id = null where business_date <= %s", [START])
        owner.commit()
        with pytest.raises(UserError, match="slices wait for a build"):
            verify_against_rebuild()
        owner.execute("update ops.slice set build_id = %s", [build_id])
    conn.execute(
        "update next.kpi_branch_daily set aktif = aktif + 1 where business_date between '2024-01-30' and '2024-02-01'"
    )
    conn.execute("delete from next.kpi_national_daily where business_date = '2024-01-20'")
    found = [
        (row.mart, row.month, row.rows - row.rows_rebuilt, row.differing)
        for row in verify_against_rebuild()
        if not row.equal
    ]
    # Two January days and one of February, of three branches, on both sides. All else is equal.
    assert found == [
        ("kpi_branch_daily", date(2024, 1, 1), 0, 12),
        ("kpi_branch_daily", date(2024, 2, 1), 0, 6),
        ("kpi_national_daily", date(2024, 1, 1), -1, 1),
    ]
    left = conn.execute("select nspname from pg_namespace where nspname like 'rebuilt%'").fetchall()
    assert left == []


def test_the_command_fails_when_something_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    equal = Compared("kpi_activity", None, 3, 3, "a", "a", 0)
    other = Compared("kpi_branch_daily", date(2024, 2, 1), 6, 6, "a", "b", 4)
    monkeypatch.setattr(verify, "verify_against_rebuild", lambda: [equal])
    assert CliRunner().invoke(app, ["verify", "--against-rebuild"]).exit_code == 0
    monkeypatch.setattr(verify, "verify_against_rebuild", lambda: [equal, other])
    shown = CliRunner().invoke(app, ["verify", "--against-rebuild"])
    assert shown.exit_code == 1
    assert "kpi_branch_daily 2024-02: 4 rows differ" in shown.stdout
    listed = CliRunner().invoke(app, ["verify", "--against-rebuild", "--json"])
    assert [(row["mart"], row["month"], row["equal"]) for row in json.loads(listed.stdout)] == [
        ("kpi_activity", None, True),
        ("kpi_branch_daily", "2024-02-01", False),
    ]


@pytest.mark.parametrize(
    ("change", "goes_on"),
    [
        ({}, True),
        ({"as_of": START - timedelta(days=1)}, True),
        ({"as_of": START + timedelta(days=1)}, False),
        ({"first_business_date": FIRST + timedelta(days=1)}, False),
        ({"project": "another"}, False),
        ({"registry": "another"}, True),
    ],
)
def test_what_a_build_goes_on_from(change: dict[str, Any], goes_on: bool) -> None:
    standing = state.Built(START, FIRST, state.project_digest(), "registry")
    digest = state.project_digest()
    assert state.goes_on(replace(standing, **change), START, FIRST, digest) == goes_on
    assert not state.goes_on(None, START, FIRST, digest)


def test_a_build_is_due_when_the_registry_changed_or_one_broke_off(conn: psycopg.Connection, empty: None) -> None:
    with connect() as owner:
        assert not state.outdated(owner)
        state.complete(owner, START, FIRST, state.project_digest(), None)
        assert not state.outdated(owner)
        owner.execute(
            "insert into ops.branch (branch_id, kind, timezone, tier) values ('KC009', 'file', 'Asia/Jakarta', 2)"
        )
        assert state.outdated(owner)
        state.complete(owner, START, FIRST, state.project_digest(), None)
        owner.execute("update ops.branch set active_from = '2024-01-01' where branch_id = 'KC009'")
        assert state.outdated(owner)
        state.complete(owner, START, FIRST, state.project_digest(), None)
        # How it is reached is none of the marts' business.
        owner.execute("update ops.branch set kind = 'sftp', connection = 'c' where branch_id = 'KC009'")
        assert not state.outdated(owner)
        state.begin(owner)
        assert state.outdated(owner)
        assert state.standing(owner) is None
