"""The worked queries of docs/bi.md, run as they stand by role bi, against sums in Python over the rows of the marts."""

import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from kkbc.core.settings import PROJECT_ROOT, get_settings
from kkbc.marts.semantic import Metrics
from kkbc.warehouse import connect
from tests.dbt_project.conftest import publish_built, read_mart
from tests.dbt_project.raw import World
from tests.dbt_project.recompute import plus_months, seed
from tests.dbt_project.test_all_marts import AS_OF, FIRST

Row = dict[str, Any]
PAGE = (PROJECT_ROOT / "docs" / "bi.md").read_text(encoding="utf-8")
QUERIES = {int(n): sql for n, sql in re.findall(r"^### (\d+)\. .*?```sql\n(.*?)```", PAGE, flags=re.M | re.S)}
MONTH = AS_OF.replace(day=1)


@pytest.fixture(scope="module")
def answers(chance_world: World) -> dict[int, list[Row]]:
    """What role bi gets for each query, over a published world of chance."""
    publish_built(FIRST, AS_OF)
    found = {}
    with connect("bi") as conn:
        for number, query in QUERIES.items():
            cursor = conn.execute(query.encode())
            names = [column.name for column in cursor.description or []]
            found[number] = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return found


def mart(name: str) -> list[Row]:
    return list(read_mart(name).values())


def office(branch_id: str) -> str | None:
    """The name of the regional office of a branch, by the reference tables."""
    names = {row["kanwil_id"]: row["kanwil_name"] for row in seed("regional_offices")}
    return next((names[row["kanwil_id"]] for row in seed("branches") if row["branch_id"] == branch_id), None)


def grouped(rows: Iterable[Row], of: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        groups[of(row)].append(row)
    return groups


def total(rows: Iterable[Row], column: str) -> Any:
    return sum(row[column] or 0 for row in rows)


def share(part: float, whole: float) -> Any:
    return pytest.approx(float(part) / float(whole), rel=1e-12) if whole else None


def test_the_page_has_ten_queries() -> None:
    assert sorted(QUERIES) == list(range(1, 11))


def test_1_active_participants(answers: dict[int, list[Row]]) -> None:
    aktif = {row["business_date"]: row["aktif"] for row in mart("kpi_national_daily")}
    before = aktif[plus_months(AS_OF, -1)]
    assert answers[1] == [
        {"business_date": AS_OF, "aktif": aktif[AS_OF], "since_month": aktif[AS_OF] - before, "since_year": None}
    ]


def test_2_targets(answers: dict[int, list[Row]]) -> None:
    aimed = [r for r in mart("kpi_target_monthly") if r["month"] == MONTH and r["target_new"] is not None]
    wanted = {
        name: (
            total(rows, "target_new"),
            total(rows, "realisation_new"),
            share(total(rows, "realisation_new"), total(rows, "target_new")),
            pytest.approx(total(rows, "projection_new")),
        )
        for name, rows in grouped(aimed, lambda r: office(r["branch_id"])).items()
    }
    assert wanted
    assert {
        r["kanwil_name"]: (r["target"], r["realisation"], r["attainment"], r["projection"]) for r in answers[2]
    } == wanted
    reached = [row["attainment"] for row in answers[2] if row["attainment"] is not None]
    assert reached == sorted(reached, reverse=True)


def test_3_what_is_missing(answers: dict[int, list[Row]]) -> None:
    rows = mart("kpi_data_quality_daily")
    last = max(row["business_date"] for row in rows)
    odd = [r for r in rows if r["business_date"] == last and r["status"] not in ("on_time", "empty")]
    assert odd
    assert {(r["branch_id"], r["status"]): r["feeds"] for r in answers[3]} == {
        key: len(found) for key, found in grouped(odd, lambda r: (r["branch_id"], r["status"])).items()
    }


def test_4_channels_by_month(answers: dict[int, list[Row]]) -> None:
    names = {row["channel_code"]: row["name_id"] for row in mart("dim_channel")}
    groups = grouped(mart("kpi_channel_daily"), lambda r: (r["business_date"].replace(day=1), names[r["channel_code"]]))
    assert len(groups) > 10
    assert {(r["month"], r["channel"]): (r["registrations"], r["acquisitions"]) for r in answers[4]} == {
        key: (total(rows, "registrations"), total(rows, "acquisitions")) for key, rows in groups.items()
    }


def test_5_the_funnel(answers: dict[int, list[Row]]) -> None:
    wanted = {}
    for kind, rows in grouped(mart("kpi_activity"), lambda r: r["type"]).items():
        contacts, registered, paid = (total(rows, name) for name in ("contacts", "registrations", "acquisitions"))
        wanted[kind] = (contacts, registered, paid, share(registered, contacts), share(paid, registered))
    columns = ("contacts", "registrations", "acquisitions", "conversion", "paid_conversion")
    assert {r["type"]: tuple(r[name] for name in columns) for r in answers[5]} == wanted


def test_6_cost_per_acquisition(answers: dict[int, list[Row]]) -> None:
    priced = grouped((r for r in mart("kpi_activity") if r["cost"] is not None), lambda r: r["branch_id"])
    assert {r["branch_id"]: (r["cost"], r["acquisitions"], r["cost_per_acquisition"]) for r in answers[6]} == {
        branch: (
            total(rows, "cost"),
            total(rows, "acquisitions"),
            share(total(rows, "cost"), total(rows, "acquisitions")),
        )
        for branch, rows in priced.items()
    }


def test_7_radio(answers: dict[int, list[Row]]) -> None:
    spots = grouped((r for r in mart("kpi_radio_lift") if r["lift"] is not None), lambda r: r["branch_id"])
    assert spots
    assert {r["branch_id"]: (r["spots"], r["lift"]) for r in answers[7]} == {
        branch: (len(rows), share(total(rows, "observed"), total(rows, "baseline"))) for branch, rows in spots.items()
    }


def test_8_retention(answers: dict[int, list[Row]]) -> None:
    cohorts = grouped(mart("kpi_retention"), lambda r: (r["cohort_month"], r["month_n"]))
    assert len(cohorts) > 5
    assert {(r["cohort_month"], r["month_n"]): (r["cohort"], r["retention"]) for r in answers[8]} == {
        key: (total(rows, "cohort_size"), share(total(rows, "covered"), total(rows, "cohort_size")))
        for key, rows in cohorts.items()
    }


def test_9_coverage(answers: dict[int, list[Row]]) -> None:
    rows = [row for row in mart("kpi_coverage_province") if row["month_end"] == date(2024, 6, 30)]
    assert len(answers[9]) == len(rows) > 30
    assert {r["province_code"]: r["coverage_pct"] for r in answers[9]} == {
        r["province_code"]: share(100 * r["aktif"], r["informal_workers"] or 0) for r in rows
    }


def test_10_reasons(answers: dict[int, list[Row]]) -> None:
    since = AS_OF - timedelta(days=30)
    recent = [r for r in mart("quarantine_reasons_daily") if since < r["business_date"]]
    assert recent
    assert {r["code"]: (r["rows"], float(r["share"])) for r in answers[10]} == {
        code: (total(rows, "rows"), share(total(rows, "rows"), total(recent, "rows")))
        for code, rows in grouped(recent, lambda r: r["code"]).items()
    }


def test_the_program_in_python_runs(answers: object) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)
    given = conninfo_to_dict(get_settings().database_url)
    settings = {"PGHOST": given["host"], "PGPORT": given["port"], "PGDATABASE": given["dbname"], "PGUSER": "bi"}
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **{name: str(value) for name, value in settings.items()}},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert str(AS_OF) in ran.stdout


def test_the_metrics_of_the_page_exist(answers: object) -> None:
    layer = Metrics()
    asked = re.findall(r"kkbc query ((?:[a-z_]+ )+)(?:--by (\S+))?", PAGE)
    assert len(asked) > 3
    for metrics, by in asked:
        assert layer.ask(metrics.split(), [by] if by else []).rows


def test_every_reader_may_run_them(answers: object) -> None:
    """Role branch_bi has all the tables; a login that nobody was granted anything gets no row, and no error."""
    with psycopg.connect(get_settings().database_url) as conn:
        conn.execute("create role kkbc_test_analyst login in role branch_bi")
        conn.execute("set session authorization kkbc_test_analyst")
        assert [n for n, query in QUERIES.items() if conn.execute(query.encode()).fetchall()] == []
        conn.rollback()
