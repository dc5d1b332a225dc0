"""The dbt project itself: it parses without a warning, explains itself, and its unit tests and lint pass."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from kkbc import building
from kkbc.contracts import load_contract
from kkbc.errors import UserError
from kkbc.reference import codes
from kkbc.settings import PROJECT_ROOT
from kkbc.slices import BRANCH_FEEDS, HEAD_OFFICE_FEEDS
from kkbc.warehouse import connect
from tests.dbt_project.raw import World
from tests.dbt_project.recompute import seed

DAYS = {"first_business_date": date(2024, 1, 1), "as_of": date(2024, 1, 31)}


def described(kind: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The entries of that kind in the yml files beside models and seeds."""
    for path in sorted(building.DBT_PROJECT.rglob("_*.yml")):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8")).get(kind, []):
            yield path, entry


MODELS = {entry["name"]: entry for _, entry in described("models")}
PUBLISHED = {name: entry for name, entry in MODELS.items() if "publish" in entry["config"]["meta"]}


def dbt(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """dbt as a user would call it, over the current warehouse."""
    with connect("transformer") as conn:
        environment = {**os.environ, **building._environment(conn)}
    folders = ["--project-dir", str(building.DBT_PROJECT), "--profiles-dir", str(building.DBT_PROJECT)]
    outputs = ["--target-path", str(home / "target"), "--log-path", str(home / "logs")]
    days = json.dumps({name: day.isoformat() for name, day in DAYS.items()})
    command = [str(Path(sys.executable).with_name("dbt")), *arguments, *folders, *outputs, "--vars", days]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def built(database: str) -> str:
    """An empty world, built."""
    with connect() as conn:
        World(["KC001"]).write(conn)
    for layer in building.LAYERS:
        building.build(layer, **DAYS)
    return database


def test_parses_without_a_warning(built: str, tmp_path: Path) -> None:
    parsed = dbt(tmp_path, "--warn-error", "--show-all-deprecations", "parse")
    assert parsed.returncode == 0, parsed.stdout


def test_unit_tests_pass(built: str, tmp_path: Path) -> None:
    tested = dbt(tmp_path, "--quiet", "test", "--select", "test_type:unit")
    assert tested.returncode == 0, tested.stdout
    results = json.loads((tmp_path / "target" / "run_results.json").read_text())["results"]
    assert len(results) == sum(1 for _ in described("unit_tests"))


def test_lint_is_clean() -> None:
    command = [str(Path(sys.executable).with_name("sqlfluff")), "lint", "--processes", "1", "dbt_project/models"]
    linted = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout


def test_every_model_and_seed_is_described() -> None:
    files = {path.stem for path in (building.DBT_PROJECT / "models").rglob("*.sql")}
    assert files == set(MODELS)
    assert {path.stem for path in building.DBT_PROJECT.glob("seeds/*.csv")} == {
        e["name"] for _, e in described("seeds")
    }
    for kind in ("models", "seeds"):
        for path, entry in described(kind):
            for thing in (entry, *entry["columns"]):
                assert thing.get("description", "").endswith("."), (path.name, entry["name"], thing["name"])


def test_every_model_has_an_owner_a_grain_and_labels() -> None:
    for name, entry in MODELS.items():
        assert entry["config"]["meta"]["owner"]
        assert "Grain: one row per" in entry["description"], name
        assert all(column["config"]["meta"]["label_id"] for column in entry["columns"])


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_are_held_to_their_contract(built: str, name: str) -> None:
    meta = PUBLISHED[name]["config"]["meta"]
    assert meta["label_id"]
    assert set(meta["publish"]) in ({"bi"}, {"bi_detail"}, {"bi", "bi_detail"})
    assert PUBLISHED[name]["constraints"][0] == {"type": "primary_key", "columns": meta["primary_key"]}
    described_columns = [column["name"] for column in PUBLISHED[name]["columns"]]
    with connect("publisher") as conn:
        found = conn.execute(
            "select column_name from information_schema.columns"
            " where table_schema = 'next' and table_name = %s order by ordinal_position",
            [name],
        ).fetchall()
    assert [column for (column,) in found] == described_columns


def test_no_person_reaches_the_dashboards() -> None:
    persons = {"participant_token", "birth_year", "registration_no", "officer_code", "payment_id"}
    for name, entry in PUBLISHED.items():
        if "bi" in entry["config"]["meta"]["publish"]:
            assert persons.isdisjoint(column["name"] for column in entry["columns"]), name


def test_closed_lists_are_those_of_the_contracts() -> None:
    channels = load_contract("pendaftaran").column("channel_code").checks
    assert {code for check in channels for code in check.params.get("values", [])} == codes("channels.code")
    feeds = {row["feed"]: row for row in seed("feeds")}
    assert {feed for feed, row in feeds.items() if row["sender"] == "branch"} == set(BRANCH_FEEDS)
    assert {feed for feed, row in feeds.items() if row["sender"] == "head_office"} == set(HEAD_OFFICE_FEEDS)
    for feed, row in feeds.items():
        assert (row["has_nik"] == "true") == load_contract(feed).has_nik


def test_seeds_are_built_only_when_they_changed(built: str) -> None:
    assert building.build("seeds", **DAYS) == []


def test_results_are_kept(built: str) -> None:
    with connect("transformer") as conn:
        rows = conn.execute(
            "select layer, resource_type, count(*), bool_and(status in ('success', 'pass'))"
            " from ops.dbt_result group by layer, resource_type"
        ).fetchall()
    counts = {(layer, kind): count for layer, kind, count, good in rows if good}
    assert counts["models", "model"] == len(MODELS)
    assert counts["seeds", "seed"] == sum(1 for _ in described("seeds"))
    assert ("models", "test") in counts


def test_an_unknown_layer_is_refused(built: str) -> None:
    with pytest.raises(UserError, match="layers are: seeds, models"):
        building.build("bronze", **DAYS)


def test_a_failing_test_is_named_and_nothing_after_it_is_built(built: str) -> None:
    """Last, for it spoils the database: a registration by no known channel, against every promise of the loader."""
    with connect() as conn:
        world = World([])
        world.registration("KC001", "1", "a", "2024-01-05", channel_code="BURUNG")
        world.slices.clear()
        world.write(conn)
    with pytest.raises(UserError, match="channel_code") as caught:
        building.build("models", **DAYS)
    assert "dbt test relationships_" in caught.value.problem
    assert "1 result" in caught.value.problem
    with connect("transformer") as conn:
        kept = conn.execute("select message from ops.dbt_result where status = 'fail'").fetchall()
    assert kept
