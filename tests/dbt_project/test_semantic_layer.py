"""The semantic layer: every metric, grouped by a mart's grain, is the mart's column; sums and ratios hold above it."""

import socket
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date
from functools import cache
from typing import Any

import pytest
import yaml

from kkbc import publishing
from kkbc.core.errors import UserError
from kkbc.marts import runner
from kkbc.marts.semantic import Answer, Metrics
from kkbc.reporting.figures.headline import headline
from kkbc.reporting.figures.view import NATION, View, scope_of_branch, scope_of_office
from kkbc.reporting.page import as_html
from kkbc.reporting.reading import read_published
from kkbc.reporting.writing import compose
from kkbc.upkeep.dashboards import load_bundle
from tests.dbt_project import properties
from tests.dbt_project.conftest import publish_built, read_mart
from tests.dbt_project.properties import KPIS, MODELS
from tests.dbt_project.raw import World
from tests.dbt_project.test_all_marts import AS_OF, FIRST

Row = dict[str, Any]


@cache
def described(kind: str) -> list[Row]:
    found: list[Row] = []
    for path in sorted((runner.DBT_PROJECT / "semantic").glob("*.yml")):
        found += yaml.load(path.read_bytes(), yaml.CSafeLoader).get(kind, [])
    return found


METRICS = {metric["name"]: metric for metric in described("metrics")}
OF_COLUMN: dict[str, list[str]] = defaultdict(list)
for _name, _metric in METRICS.items():
    for _column in _metric.get("config", {}).get("meta", {}).get("columns", []):
        OF_COLUMN[_column].append(_name)

# How a mart's grain is asked for, and the columns that are no number to ask for.
GRAINS = {
    "kpi_national_daily": {"business_date": "metric_time__day"},
    "kpi_branch_daily": {"branch_id": "branch", "business_date": "metric_time__day"},
    "kpi_channel_daily": {"branch_id": "branch", "channel_code": "channel", "business_date": "metric_time__day"},
    "kpi_activity": {"activity": "activity"},
    "kpi_radio_lift": {"branch_id": "branch", "spot_date": "metric_time__day"},
    "kpi_retention": {
        "cohort_month": "metric_time__month",
        "branch_id": "branch",
        "channel_code": "channel",
        "month_n": "cohort__month_n",
    },
    "kpi_target_monthly": {"branch_id": "branch", "month": "metric_time__month"},
    "kpi_coverage_province": {"province_code": "province_month__province_code", "month_end": "metric_time__day"},
    "kpi_occupation_monthly": {
        "branch_id": "branch",
        "occupation_code": "occupation",
        "month": "metric_time__month",
    },
    "kpi_data_quality_daily": {"branch_id": "branch", "feed": "slice__feed", "business_date": "metric_time__day"},
    "quarantine_reasons_daily": {
        "branch_id": "branch",
        "feed": "quarantine_reason__feed",
        "business_date": "metric_time__day",
        "code": "quarantine_reason__code",
    },
}
GROUPED_BY = {
    "kpi_activity.type": "activity__activity_type",
    "kpi_coverage_province.informal_workers_year": "province_month__informal_workers_year",
    "kpi_coverage_province.informal_workers_source": "province_month__informal_workers_source",
    "kpi_coverage_province.attribution_rule": "province_month__attribution_rule",
    "kpi_data_quality_daily.status": "slice__status",
}


@pytest.fixture(scope="module")
def marts(chance_world: World) -> dict[str, list[Row]]:
    """Every published KPI mart of a world of chance, as its table holds it."""
    publish_built(FIRST, AS_OF)
    found = {mart: list(read_mart(mart).values()) for mart in [*GRAINS, "dim_branch"]}
    for activity in found["kpi_activity"]:
        activity["activity"] = f"{activity['branch_id']} {activity['activity_code']}"
    return found


@pytest.fixture(scope="module")
def layer(marts: object) -> Metrics:
    return Metrics()


def rows(answer: Answer) -> list[Row]:
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


def approximately(value: float | None) -> Any:
    """These divide a rounded number."""
    return value if value is None else pytest.approx(value, rel=1e-14)


def mart_columns(mart: str) -> list[str]:
    """The columns of a mart that are not its key."""
    model = MODELS[mart]
    return [c["name"] for c in model["columns"] if c["name"] not in model["config"]["meta"]["primary_key"]]


def test_every_kpi_has_a_metric_or_is_a_grouping() -> None:
    """Every column of every published KPI model, but for those that say that they hold no figures to ask for."""
    assert {name for name in KPIS if MODELS[name]["config"]["meta"].get("metrics", True)} == set(GRAINS)
    for mart in GRAINS:
        for column in mart_columns(mart):
            name = f"{mart}.{column}"
            assert (name in OF_COLUMN) != (name in GROUPED_BY), name
    assert {name.partition(".")[0] for name in [*OF_COLUMN, *GROUPED_BY]} <= set(GRAINS)


@pytest.mark.parametrize("mart", GRAINS)
def test_metrics_are_the_columns_of_the_mart(mart: str, marts: dict[str, list[Row]], layer: Metrics) -> None:
    grain = GRAINS[mart]
    columns = {metric: column for column in mart_columns(mart) for metric in OF_COLUMN.get(f"{mart}.{column}", [])}
    answers = rows(layer.ask(sorted(columns), list(grain.values())))
    if "attainment_mtd" in columns:
        # A month to date goes from the month's first day to its last, whatever days the marts hold.
        answers = [row for row in answers if FIRST <= row["metric_time__day"] <= AS_OF]
    found = {tuple(row[name] for name in grain.values()): row for row in answers}
    wanted = {tuple(row[name] for name in grain): row for row in marts[mart]}
    assert len(wanted) > 20
    assert set(wanted) == set(found)
    for key, row in wanted.items():
        differing = {
            metric: (found[key][metric], row[column])
            for metric, column in columns.items()
            if found[key][metric] != (approximately(row[column]) if column in ("lift", "coverage_pct") else row[column])
        }
        assert not differing, key


def total(found: Iterable[Row], column: str) -> Any:
    return sum(row[column] or 0 for row in found)


def month(day: date) -> date:
    return day.replace(day=1)


def grouped(found: Iterable[Row], *by: Callable[[Row], Any]) -> dict[tuple[Any, ...], list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in found:
        groups[tuple(of(row) for of in by)].append(row)
    return groups


def test_stocks_are_those_of_the_last_day(marts: dict[str, list[Row]], layer: Metrics) -> None:
    national = {row["business_date"]: row for row in marts["kpi_national_daily"]}
    stocks = ["aktif", "menunggak", "non_aktif", "belum_aktif"]
    assert layer.ask(stocks).rows == [tuple(national[AS_OF][stock] for stock in stocks)]
    lasts = {month(day): max(d for d in national if month(d) == month(day)) for day in national}
    assert {row["metric_time__month"]: row["aktif"] for row in rows(layer.ask(["aktif"], ["metric_time__month"]))} == {
        first: national[last]["aktif"] for first, last in lasts.items()
    }


def test_sums_and_ratios_hold_for_regional_offices(marts: dict[str, list[Row]], layer: Metrics) -> None:
    office = {row["branch_id"]: row["kanwil_name"] for row in marts["dim_branch"]}
    assert len(set(office.values())) > 2
    days = grouped(marts["kpi_branch_daily"], lambda r: office[r["branch_id"]], lambda r: month(r["business_date"]))
    due = grouped(marts["kpi_channel_daily"], lambda r: office[r["branch_id"]], lambda r: month(r["business_date"]))
    targets = grouped(marts["kpi_target_monthly"], lambda r: office[r["branch_id"]], lambda r: r["month"])
    wanted = {}
    for key, found in days.items():
        aimed = total(targets[key], "target_new")
        expected = total(due[key], "registrations_30d_due")
        wanted[key] = (
            total(found, "acquisitions"),
            total(found, "contributions_idr"),
            total(due[key], "activated_30d") / expected if expected else None,
            total(targets[key], "realisation_new") / aimed if aimed else None,
        )
    metrics = ["acquisitions", "contributions_idr", "activation_rate_30d", "attainment_new"]
    answers = rows(layer.ask(metrics, ["branch__kanwil_name", "metric_time__month"]))
    assert {
        (row["branch__kanwil_name"], row["metric_time__month"]): tuple(row[metric] for metric in metrics)
        for row in answers
    } == wanted


def test_attainment_of_regional_offices_day_by_day(marts: dict[str, list[Row]], layer: Metrics) -> None:
    office = {row["branch_id"]: row["kanwil_name"] for row in marts["dim_branch"]}
    targets = {(row["branch_id"], row["month"]): row["target_new"] for row in marts["kpi_target_monthly"]}
    for day in (date(2024, 2, 29), date(2024, 6, 15), AS_OF):
        aims: dict[Any, int] = defaultdict(int)
        reached: dict[Any, int] = defaultdict(int)
        for row in marts["kpi_branch_daily"]:
            target = targets.get((row["branch_id"], month(day)))
            if target is not None and month(day) <= row["business_date"] <= day:
                reached[office[row["branch_id"]]] += row["acquisitions"]
                aims[office[row["branch_id"]]] += target if row["business_date"] == max(FIRST, month(day)) else 0
        answers = rows(
            layer.ask(
                ["attainment_mtd"],
                ["branch__kanwil_name", "metric_time__day"],
                where=[f"{{{{ TimeDimension('metric_time', 'day') }}}} = '{day}'"],
            )
        )
        assert {row["branch__kanwil_name"]: row["attainment_mtd"] for row in answers} == {
            name: reached[name] / aim if aim else None for name, aim in aims.items()
        }


def test_ratios_divide_sums_nationwide(marts: dict[str, list[Row]], layer: Metrics) -> None:
    activities, spots = marts["kpi_activity"], [r for r in marts["kpi_radio_lift"] if r["lift"] is not None]
    assert spots
    cost = total(activities, "cost") / total((r for r in activities if r["cost"] is not None), "acquisitions")
    contacts = total(activities, "registrations") / total(activities, "contacts")
    metrics = ["conversion", "cost_per_acquisition", "radio_lift"]
    assert layer.ask(metrics).rows == [
        (contacts, cost, pytest.approx(total(spots, "observed") / total(spots, "baseline"), rel=1e-14))
    ]
    latest = [r for r in marts["kpi_coverage_province"] if r["month_end"] == date(2024, 6, 30)]
    counted = [r for r in latest if r["informal_workers"] is not None]
    assert layer.ask(["coverage_pct"]).rows == [
        (pytest.approx(100 * total(counted, "aktif") / total(counted, "informal_workers"), rel=1e-14),)
    ]
    for n in (1, 3):
        cohorts = [r for r in marts["kpi_retention"] if r["month_n"] == n]
        assert layer.ask([f"retention_{n}m"]).rows == [(total(cohorts, "covered") / total(cohorts, "cohort_size"),)]
    judged = [r for r in marts["kpi_data_quality_daily"] if r["valid_nik_rate"] is not None]
    valid = sum(round(row["valid_nik_rate"] * row["rows_sent"]) for row in judged)
    assert layer.ask(["valid_nik_rate"]).rows == [(valid / total(judged, "rows_sent"),)]


def test_facts_agree_with_the_marts(marts: dict[str, list[Row]], layer: Metrics) -> None:
    """Over the days of the marts, as the role that may read facts."""
    national = marts["kpi_national_daily"]
    for fact, mart, column in (
        ("registrations_counted", "registrations", "registrations"),
        ("acquisitions_counted", "acquisitions", "acquisitions"),
        ("payment_idr", "contributions_idr", "contributions_idr"),
    ):
        inside = f"{{{{ TimeDimension('metric_time', 'day') }}}} between '{FIRST}' and '{AS_OF}'"
        (row,) = layer.ask([fact, mart], where=[inside]).rows
        assert set(row) == {total(national, column)}


def test_saved_queries_answer(layer: Metrics) -> None:
    names = [query["name"] for query in described("saved_queries")]
    assert set(names) == set(layer.saved)
    for name in names:
        assert layer.ask(saved=name).rows, name


def test_every_metric_has_an_indonesian_label_of_its_own() -> None:
    labels = [metric["label"] for metric in METRICS.values()]
    assert len(set(labels)) == len(labels)


def test_a_question_goes_nowhere_but_to_the_warehouse(
    marts: object, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """No connection by the network, from parsing to the answer: the warehouse is a unix socket, opened by libpq."""

    def refuse(self: socket.socket, address: Any) -> None:
        raise AssertionError(f"tried to reach {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *place, **_: refuse(socket.socket(), place))
    assert Metrics().ask(["registrations"]).rows


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"metrics": ["pendaftaran"]}, "unknown metric 'pendaftaran'"),
        ({"metrics": ["aktif"], "by": ["channel"]}, "does not match any .* \\(channel\\)"),
        ({"metrics": ["aktif"], "where": ["{{ Dimension('branch__branch_tier') }} = 'x'"]}, "invalid input syntax"),
        ({"saved": "everything"}, "unknown saved query 'everything'"),
    ],
)
def test_what_cannot_be_asked_is_one_line(layer: Metrics, question: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        layer.ask(question.pop("metrics", []), **question)
    assert "\n" not in str(caught.value)


def test_groupings_are_listed(layer: Metrics) -> None:
    assert {"branch", "branch__kanwil_name", "metric_time"} <= set(layer.groupings(["registrations"]))
    assert "channel__channel_name" not in layer.groupings(["registrations"])


def test_exposures_are_what_is_built() -> None:
    exposures = described("exposures")
    assert {exposure["config"]["meta"]["state"] for exposure in exposures} == {"live"}
    # Those of the bundle, as tests/upkeep/dashboards/test_chain.py compares them.
    boards = {exposure["name"] for exposure in exposures if exposure["type"] == "dashboard"}
    assert boards == {f"dashboard_{name}" for name in load_bundle().dashboards}
    exported = next(e for e in exposures if e["name"] == "kkbc_export")["depends_on"]
    # A mart may name its readers in its own properties.
    beside = [
        node
        for path, exposure in properties.described("exposures")
        if properties.MARTS in path.parents
        for node in exposure["depends_on"]
    ]
    assert {*exported, *beside} == {f"ref('{model.name}')" for model in publishing.published_models()}


def test_reports_are_drawn_of_real_marts_whatever_a_branch_is(marts: dict[str, list[Row]]) -> None:
    """KC999 is in no reference table, KC030 opened late, KC003 closed: each has its page, with its own figures."""
    snapshot = read_published()
    today = {row["branch_id"]: row for row in marts["kpi_branch_daily"] if row["business_date"] == AS_OF}
    (nation,) = (row for row in marts["kpi_national_daily"] if row["business_date"] == AS_OF)
    found = headline(View(snapshot))
    assert found.today == {state: nation[state] for state in ("aktif", "menunggak", "non_aktif", "belum_aktif")}
    assert found.new.attainment == approximately(nation["attainment_mtd"])
    assert (found.expected, found.reported) == (nation["branches_expected"], nation["branches_reported"])
    assert f"{nation['aktif']} pekerja BPU terlindungi" in as_html(compose(snapshot, NATION))
    for branch in ("KC001", "KC003", "KC030", "KC999"):
        page = as_html(compose(snapshot, scope_of_branch(snapshot, branch)))
        assert f"{today[branch]['aktif']} pekerja BPU terlindungi" in page
        assert not any(other in page for other in {*today} - {branch})
    for office in snapshot.offices:
        assert "Cabang berdampingan" in as_html(compose(snapshot, scope_of_office(snapshot, office)))
