"""Seeds with holes, and references to nothing: each is reported by its row, and the figures of everything else stay."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from kkbc.marts import runner
from kkbc.warehouse import connect
from kkbc.watching.status import status
from tests.dbt_project.conftest import Mart, read_mart
from tests.dbt_project.properties import KPIS
from tests.dbt_project.raw import World
from tests.dbt_project.recompute import seed

DAYS = {"first_business_date": date(2024, 1, 1), "as_of": date(2024, 2, 10)}
# The only branch of a province that the seeds lose, one that they lose itself, and one that keeps all it has.
OF_LOST_PROVINCE, LOST, KEPT = "KC119", "KC001", "KC044"
PROVINCE = "53"


@dataclass
class Builds:
    """The marts before and after the seeds were spoiled, and what the second build warned of, by test."""

    before: dict[str, Mart]
    after: dict[str, Mart]
    warnings: dict[str, str]


def a_world() -> World:
    world = World([OF_LOST_PROVINCE, LOST, KEPT])
    for number, branch in enumerate([OF_LOST_PROVINCE, KEPT, KEPT, LOST]):
        world.registration(branch, f"R{number}", f"person {number}", f"2024-01-0{number + 2}")
        world.payment(branch, f"B{number}", f"person {number}", f"2024-01-1{number}", months=3)
    for branch in world.branches:
        world.activity(branch, "K1", "2024-01-02", contacts=10, cost=1000)
        world.target(branch, "2024-01", 2)
    return world


@pytest.fixture(scope="module")
def builds(database: str, tmp_path_factory: pytest.TempPathFactory) -> Builds:
    """A world built by the project; then with references that lead nowhere, by a copy whose seeds have holes."""
    with connect() as conn:
        a_world().write(conn)
    build(None)
    before = {name: read_mart(name) for name in KPIS}
    with connect() as conn:
        conn.execute("update raw.registrations set activity_code = 'K9' where registration_no = 'R1'")
        stray = World([])
        stray.target("KC999", "2024-01", 100, _line=99)
        stray.slice("target", "HQ", "2024-01-01", revision=2, status="superseded")
        stray.write(conn)
        row = conn.execute(
            "insert into ops.build (as_of, first_business_date) values (%(as_of)s, %(first_business_date)s)"
            " returning build_id",
            DAYS,
        ).fetchone()
        assert row is not None
    copy = tmp_path_factory.mktemp("project") / "dbt_project"
    shutil.copytree(runner.DBT_PROJECT, copy)
    drop(copy, "provinces", PROVINCE)
    drop(copy, "informal_workers_by_province", PROVINCE)
    drop(copy, "bpu_income_tiers", "5")
    drop(copy, "branches", LOST)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "DBT_PROJECT", copy)
        results = build(row[0])
    messages = {result.name: str(result.message) for result in results if result.status == "warn"}
    return Builds(before, {name: read_mart(name) for name in KPIS}, messages)


def build(build_id: int | None) -> list[runner.NodeResult]:
    return [result for layer in runner.LAYERS for result in runner.build(layer, **DAYS, build_id=build_id)]


def drop(project: Path, name: str, key: str) -> None:
    """Takes the rows whose first cell is `key` out of a seed."""
    path = project / "seeds" / f"{name}.csv"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(f"{key},")]
    assert len(kept) < len(lines)
    path.write_text("".join(kept), encoding="utf-8")


def test_every_hole_is_reported_by_its_row(builds: Builds) -> None:
    of_province = [row["code"] for row in seed("regencies") if row["province_code"] == PROVINCE]
    served = [row["regency_code"] for row in seed("regency_to_branch") if row["branch_id"] == LOST]
    assert builds.warnings == {
        "branches_lie_in_known_provinces": f"branch_id={OF_LOST_PROVINCE} province_code={PROVINCE}",
        "regencies_lie_in_known_provinces": listed(
            "regencies_lie_in_known_provinces", (f"code={code} province_code={PROVINCE}" for code in of_province)
        ),
        "provinces_of_participants_are_known": f"province_code={PROVINCE}",
        "provinces_have_informal_workers": f"province_code={PROVINCE} year=2022; province_code={PROVINCE} year=2023",
        "tiers_leave_no_gap": "tier=6 valid_from=null valid_to=2025-12-31 highest_below=1699000 income_low=1900000"
        " income_high=2099000",
        "serving_branches_are_known": listed(
            "serving_branches_are_known", (f"regency_code={code} branch_id={LOST}" for code in served)
        ),
        "branches_have_reference_rows": f"branch_id={LOST}",
        "targets_name_known_branches": "branch_id=KC999 month=2024-01-01",
        "activities_named_exist": f"branch_id={KEPT} activity_code=K9 registrations=1",
    }


def listed(test: str, rows: Iterable[str]) -> str:
    """The first three of them, how many there are more, and where they stand."""
    messages = sorted(rows)
    more = len(messages) - 3
    everywhere = f"; and {more} more, all in staging.{test}" if more > 0 else ""
    return "; ".join(messages[:3]) + everywhere


def test_the_status_shows_them(builds: Builds) -> None:
    assert {warning["test"]: warning["message"] for warning in status().data_warnings} == builds.warnings


def test_the_other_figures_stay(builds: Builds) -> None:
    """All marts, but for what the next tests say."""
    for name in builds.before:
        if name not in ("kpi_coverage_province", "kpi_target_monthly"):
            assert builds.after[name] == builds.before[name], name
    assert all(builds.before[name] for name in ("kpi_national_daily", "kpi_activity", "kpi_channel_daily"))


def test_a_province_without_a_figure_has_no_coverage_and_the_others_theirs(builds: Builds) -> None:
    before, after = builds.before["kpi_coverage_province"], builds.after["kpi_coverage_province"]
    month_end = date(2024, 1, 31)
    assert before[PROVINCE, month_end]["aktif"] == 1
    assert before.keys() == after.keys()
    assert len({province for province, _ in after}) == 34
    unknown = {"informal_workers": None, "informal_workers_year": None, "informal_workers_source": None}
    assert after.pop((PROVINCE, month_end)) == before.pop((PROVINCE, month_end)) | unknown | {"coverage_pct": None}
    # A branch that the reference table lacks lies nowhere.
    assert (before["11", month_end]["aktif"], after["11", month_end]["aktif"]) == (1, 0)
    assert after | {("11", month_end): before["11", month_end]} == before


def test_a_target_of_nobody_stands_alone(builds: Builds) -> None:
    before, after = builds.before["kpi_target_monthly"], builds.after["kpi_target_monthly"]
    month = date(2024, 1, 1)
    stray = after.pop(("KC999", month))
    assert (stray["target_new"], stray["realisation_new"], stray["attainment_new"], stray["rank"]) == (
        100,
        0,
        0.0,
        None,
    )
    # Without a regional office there is nobody to be ranked with.
    assert before[LOST, month]["rank"] == 1
    before[LOST, month]["rank"] = None
    assert after == before


def test_names_are_missing_where_the_reference_is(builds: Builds) -> None:
    branches = read_mart("dim_branch")
    found = branches[OF_LOST_PROVINCE,]
    assert (found["province_code"], found["province_name"], found["province_code_2021"]) == (PROVINCE, None, PROVINCE)
    assert (branches[LOST,]["branch_name"], branches[LOST,]["kanwil_id"]) == (LOST, None)
    assert branches[KEPT,]["province_name"] is not None


def test_no_stored_row_is_about_a_person(builds: Builds) -> None:
    """Whatever a test stores may end in a message: each says itself what it selects, and no more."""
    with connect("transformer") as conn:
        found = conn.execute(
            "select distinct column_name from information_schema.columns c join information_schema.tables t"
            " using (table_schema, table_name) where table_schema = 'staging' and table_type = 'BASE TABLE'"
        ).fetchall()
    columns = {name for (name,) in found}
    assert "branch_id" in columns
    assert columns.isdisjoint(
        {"participant_token", "registration_no", "payment_id", "officer_code", "birth_year", "sex"}
    )
    assert not any("person" in message for message in builds.warnings.values())
