"""A mart that the project has never seen: three files are written, and everything else about it follows from them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, LiteralString

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from kkbc.cli.application import app
from kkbc.core.errors import UserError
from kkbc.core.settings import PROJECT_ROOT
from kkbc.marts import runner
from kkbc.upkeep.scaffold import mart
from kkbc.warehouse import connect, server
from tests.dbt_project.conftest import current, warehouse
from tests.project_copy import ProjectCopy, copy_project
from tests.upkeep.scaffold.deliveries import send

MART = "kpi_segment_daily"
FOLDER = f"dbt_project/models/marts/{MART}"
FIRST, SECOND = date(2023, 12, 10), date(2023, 12, 11)
OFFICES = ("KC001", "KC044", "KC069")
# Registrations of a night, branch by branch: with the segments that they are of.
SENT = {"KC001": ("MANDIRI", "MANDIRI", "PMI"), "KC044": ("MANDIRI",), "KC069": ("PMI", "PMI")}


def send_all(root: Path, day: date) -> None:
    """The deliveries of a night."""
    for branch_id, segments in SENT.items():
        send(root, branch_id, day, segments)


@pytest.fixture(scope="module")
def project(pg: server.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProjectCopy]:
    """A copy of the project with the new mart, one night run and published."""
    with warehouse(pg, tmp_path_factory) as environment, current(environment):
        made = copy_project(tmp_path_factory.mktemp("copy"), environment, OFFICES)
        made.kkbc("new", "mart", MART, "--grain", "branch_id,segment_code,business_date")
        send_all(made.branches, FIRST)
        night(made, FIRST)
        yield made


def night(project: ProjectCopy, day: date, status: int = 0) -> str:
    """One plain night, its deliveries below a folder that git does not see."""
    arguments = ("--source-root", project.branches, "--as-of", day.isoformat())
    return project.kkbc("run", *arguments, "--first-business-date", FIRST.isoformat(), status=status)


def rows(query: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
    with connect() as conn:
        return conn.execute(query, values).fetchall()


def published() -> dict[tuple[str, str, date], int]:
    """What BI has of the mart."""
    query: LiteralString = "select branch_id, segment_code, business_date, registrations from bi.kpi_segment_daily"
    return {(branch, segment, day): count for branch, segment, day, count in rows(query)}


def of(day: date) -> dict[tuple[str, str, date], int]:
    """What BI should have of a day."""
    return {(b, s, day): segments.count(s) for b, segments in SENT.items() for s in segments}


def test_three_files_are_written_and_no_other_is_touched(project: ProjectCopy) -> None:
    wanted = [f"{FOLDER}/expectations.yml", f"{FOLDER}/{MART}.sql", f"{FOLDER}/{MART}.yml"]
    assert project.changed() == wanted


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("kpi_branch_daily", "--grain", "branch_id,business_date"), "there is a model kpi_branch_daily already"),
        (("Segments", "--grain", "branch_id"), "'Segments' is no name for a mart"),
        (("kpi_" + "x" * 60, "--grain", "branch_id"), "is no name for a mart"),
        (("kpi_../x", "--grain", "branch_id"), "is no name for a mart"),
        (
            ("kpi_new", "--grain", "branch_id,colour"),
            "fct_registration has no column 'colour': choose from: business_date",
        ),
        (("kpi_new_daily", "--grain", "branch_id,colour"), "fct_registration has no column 'colour'"),
        (("kpi_new", "--grain", "branch_id business_date"), "has no column 'branch_id business_date'"),
        (("kpi_new", "--grain", "participant_token"), "'participant_token' can be no key of a mart for all"),
        (("kpi_new", "--grain", "branch_id,branch_id"), "the grain of kpi_new names a column twice"),
        (("kpi_new", "--grain", "business_date,month"), "the grain of kpi_new has both business_date and month"),
        (("kpi_new", "--grain", ","), "mart kpi_new has no grain"),
        (("kpi_new_daily", "--grain", "branch_id"), "kpi_new_daily is daily without business_date in its grain"),
        (("kpi_new_monthly", "--grain", "business_date"), "kpi_new_monthly is monthly without month in its grain"),
        (
            ("kpi_new", "--grain", "branch_id", "--fact", "fct_sale"),
            "there is no fact 'fct_sale': choose one of: fct_acq",
        ),
    ],
)
def test_a_mistake_is_reported_in_one_line_and_nothing_is_written(arguments: tuple[str, ...], message: str) -> None:
    marts = PROJECT_ROOT / "dbt_project" / "models" / "marts"
    before = sorted(marts.rglob("*"))
    outcome = CliRunner().invoke(app, ["new", "mart", *arguments])
    assert isinstance(outcome.exception, UserError)
    assert message in str(outcome.exception)
    assert "\n" not in str(outcome.exception)
    assert sorted(marts.rglob("*")) == before


def test_an_interruption_leaves_no_half_of_a_mart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a folder would stop every build, and be taken for a mart that is there already."""
    marts, writes = tmp_path / "marts", Path.write_text
    marts.mkdir()
    shutil.copytree(mart.MARTS / "fct_registration", marts / "fct_registration")
    before = sorted(marts.rglob("*"))
    monkeypatch.setattr(mart, "MARTS", marts)

    def interrupted(path: Path, text: str, **options: Any) -> int:
        if path.suffix == ".yml":
            raise KeyboardInterrupt
        return writes(path, text, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mart.add_mart("kpi_new_total", ["branch_id"])
    assert sorted(marts.rglob("*")) == before
    written = mart.add_mart("kpi_new_total", ["branch_id"])
    assert sorted(marts.rglob("*")) == sorted([*before, *written, marts / "kpi_new_total"])


def test_it_is_built_with_its_contract_and_published_with_its_readers(project: ProjectCopy) -> None:
    assert published() == of(FIRST)
    for schema in ("next", "bi"):
        kinds = rows(
            "select contype::text, count(*) from pg_constraint where conrelid = to_regclass(%s)"
            " and contype in ('p', 'c', 'f') group by 1 order by 1",
            f"{schema}.{MART}",
        )
        assert kinds == [("c", 1), ("f", 2), ("p", 1)], schema
    types = rows(
        "select attname::text, format_type(atttypid, null) from pg_attribute"
        " where attrelid = 'bi.kpi_segment_daily'::regclass and attnum > 0 order by attnum"
    )
    assert types == [
        ("branch_id", "text"),
        ("segment_code", "text"),
        ("business_date", "date"),
        ("registrations", "bigint"),
    ]
    readers = rows(
        "select rolname::text from pg_roles where rolname in ('bi', 'analyst', 'auditor', 'branch_bi', 'pii')"
        " and has_table_privilege(rolname, 'bi.kpi_segment_daily', 'select') order by 1"
    )
    assert readers == [("analyst",), ("auditor",), ("bi",), ("branch_bi",)]
    ((policy,),) = rows(
        "select pg_get_expr(polqual, polrelid) from pg_policy"
        " where polrelid = 'bi.kpi_segment_daily'::regclass and polname = 'branches_own_rows'"
    )
    assert "readers.branches()" in policy


def test_it_is_in_lineage_export_and_dictionary(project: ProjectCopy, tmp_path: Path) -> None:
    events = [json.loads(line) for path in project.home.glob("lineage/*") for line in path.read_text().splitlines()]
    outputs = {output["name"] for event in events for output in event.get("outputs", [])}
    assert any(name.endswith(f"next.{MART}") for name in outputs)
    project.kkbc("export", "--schema", "bi", "--format", "parquet", "--out", tmp_path / "files")
    written = pl.read_parquet(tmp_path / "files" / f"{MART}.parquet")
    assert written.get_column("registrations").sum() == sum(map(len, SENT.values()))
    project.kkbc("docs", "--out", tmp_path / "site")
    dictionary = (tmp_path / "site" / "kamus-data.html").read_text(encoding="utf-8")
    section = dictionary.partition(f'<h2 id="{MART}">')[2].partition("<h2")[0]
    assert "Pendaftaran dihitung menurut branch_id, segment_code, business_date." in section
    assert 'lang="en"' not in section
    assert "The number of registrations by branch_id, segment_code" in (tmp_path / "site" / "dbt.html").read_text()


def test_it_is_verified_against_a_rebuild(project: ProjectCopy) -> None:
    verified = json.loads(project.kkbc("verify", "--against-rebuild", "--json"))
    of_mart = [(entry["month"], entry["rows"], entry["equal"]) for entry in verified if entry["mart"].endswith(MART)]
    assert of_mart == [("2023-12-01", len(of(FIRST)), True)]


def test_all_grains_pass_the_linters_and_their_unit_tests(project: ProjectCopy, tmp_path: Path) -> None:
    """A key of one column, columns that may be null, months, every fact; dbt asks the facts' tables for their types."""
    copy = copy_project(tmp_path / "shapes", project.environment, OFFICES)
    shapes = {
        "kpi_program_total": ("fct_contribution", "program_code"),
        "kpi_district_monthly": ("fct_registration", "branch_id,district_code,month"),
        "kpi_credit": ("fct_acquisition", "payment_branch_id,channel_code,segment_code"),
        "kpi_type_daily": ("fct_activity", "activity_type,business_date"),
        "kpi_cover_monthly": ("fct_coverage", "month"),
        "kpi_repeat": ("fct_registration", "is_repeat,known_occupation_code"),
    }
    for name, (fact, grain) in shapes.items():
        copy.kkbc("new", "mart", name, "--fact", fact, "--grain", grain)
    assert len(copy.changed()) == 3 * len(shapes)
    with connect("transformer") as conn:
        environment = {**os.environ, **runner.environment(conn), "DBT_PROJECT_DIR": str(copy.root / ".local")}
    for command in lint_commands(copy.root / ".local" / "target", list(shapes)):
        checked = subprocess.run(command, cwd=copy.root, env=environment, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, (command, checked.stdout, checked.stderr)
        if command[0].endswith("dbt-score"):
            assert "10.0" in checked.stdout, checked.stdout


def lint_commands(target: Path, marts: list[str]) -> Iterator[list[str]]:
    """What `make lint` asks of the dbt project, and the unit tests of some marts."""
    tools = Path(sys.executable).parent
    folders = ["--project-dir", "dbt_project", "--profiles-dir", "dbt_project", "--target-path", str(target)]
    folders += ["--log-level-file", "none"]
    yield [str(tools / "sqlfluff"), "lint", "--processes", "1", *(f"dbt_project/models/marts/{mart}" for mart in marts)]
    yield [str(tools / "dbt"), "--quiet", "--warn-error", "parse", *folders]
    yield [str(tools / "dbt-score"), "lint", "--manifest", f"{target}/manifest.json"]
    config = ["--config-file", "dbt_project/dbt-bouncer.yml", "--only", "manifest_checks"]
    yield [str(tools / "dbt-bouncer"), "run", *config]
    select = ["--select", *marts, "--exclude-resource-type", "test"]
    yield [str(tools / "dbt"), "--quiet", "test", *select, *folders, "--vars", "{as_of: 2024-01-31}"]


def test_a_broken_one_stops_publication_and_a_good_one_is_rolled_back(project: ProjectCopy) -> None:
    """Last, for it moves the warehouse on by a night."""
    send_all(project.branches, SECOND)
    expectations = project.root / FOLDER / "expectations.yml"
    good = expectations.read_text(encoding="utf-8")
    broken = yaml.safe_load(good)
    broken["expect"][1] |= {"min": 2}
    expectations.write_text(yaml.safe_dump(broken), encoding="utf-8")
    assert MART in night(project, SECOND, status=3)
    assert published() == of(FIRST)

    expectations.write_text(good, encoding="utf-8")
    night(project, SECOND)
    assert published() == of(FIRST) | of(SECOND)
    (changed,) = [line for line in project.kkbc("publication", "diff").splitlines() if f"bi.{MART}" in line]
    assert changed.split() == [f"bi.{MART}", "0", str(len(of(SECOND)))]
    project.kkbc("rollback", "--why", "a test of the way back")
    assert published() == of(FIRST)
    assert len(project.changed()) == 3
