"""Every figure of a report against a query of its own over the published marts, written from the KPIs' definitions."""

from datetime import date
from typing import Any, LiteralString

import pytest

from kkbc.reporting.figures import field, peers, quality, retention, series
from kkbc.reporting.figures.headline import headline
from kkbc.reporting.figures.provinces import provinces
from kkbc.reporting.figures.view import (
    NATION,
    Scope,
    View,
    months_before,
    scope_of_branch,
    scope_of_office,
    view_of,
)
from kkbc.reporting.reading import Snapshot
from kkbc.warehouse import connect
from tests.reporting.conftest import AS_OF, BRANCHES, EMPTY
from tests.reporting.invented import Campaign

MONTH, LAST_MONTH, LAST_YEAR = date(2025, 12, 1), date(2025, 11, 18), date(2024, 12, 18)
SCOPES = ("nation", "office", "branch")


def rows(query: LiteralString, **values: Any) -> list[tuple[Any, ...]]:
    """Rows, as role bi reads them."""
    with connect("bi") as conn:
        return conn.execute(query, {"as_of": AS_OF, "month": MONTH, **values}).fetchall()


def one(query: LiteralString, **values: Any) -> tuple[Any, ...]:
    (row,) = rows(query, **values)
    return row


@pytest.fixture(params=SCOPES)
def scoped(request: pytest.FixtureRequest, snapshot: Snapshot) -> tuple[View, list[str]]:
    """A view, and the branches that count for it."""
    scopes: dict[str, tuple[Scope, list[str]]] = {
        "nation": (NATION, [*BRANCHES, EMPTY]),
        "office": (scope_of_office(snapshot, "KW01"), ["KC001", "KC002", "KC003", EMPTY]),
        "branch": (scope_of_branch(snapshot, "KC055"), ["KC055"]),
    }
    scope, ids = scopes[request.param]
    return view_of(snapshot, scope), ids


def test_status_of_today_a_month_and_a_year_ago(scoped: tuple[View, list[str]]) -> None:
    view, ids = scoped
    head = headline(view)
    for found, day in ((head.today, AS_OF), (head.last_month, LAST_MONTH), (head.last_year, LAST_YEAR)):
        expected = one(
            "select sum(aktif), sum(menunggak), sum(non_aktif), sum(belum_aktif) from bi.kpi_branch_daily"
            " where branch_id = any(%(ids)s) and business_date = %(day)s",
            ids=ids,
            day=day,
        )
        assert found is not None
        assert (found["aktif"], found["menunggak"], found["non_aktif"], found["belum_aktif"]) == expected


def test_the_nations_status_is_that_of_its_own_mart(snapshot: Snapshot) -> None:
    head = headline(View(snapshot))
    expected = one("select aktif, menunggak from bi.kpi_national_daily where business_date = %(as_of)s")
    assert head.today is not None
    assert (head.today["aktif"], head.today["menunggak"]) == expected


def test_flows_of_the_month_and_of_the_same_days_of_the_month_before(scoped: tuple[View, list[str]]) -> None:
    view, ids = scoped
    head = headline(view)
    for found, first, last in ((head.month, MONTH, AS_OF), (head.month_before, date(2025, 11, 1), LAST_MONTH)):
        expected = one(
            "select sum(registrations), sum(acquisitions), sum(contributions_idr) from bi.kpi_branch_daily"
            " where branch_id = any(%(ids)s) and business_date between %(first)s and %(last)s",
            ids=ids,
            first=first,
            last=last,
        )
        assert found is not None
        assert tuple(found.values()) == expected


def test_targets_leave_out_branches_without_one_and_keep_those_of_0(scoped: tuple[View, list[str]]) -> None:
    view, ids = scoped
    head = headline(view)
    new, realised, projected, active, idr = one(
        "select sum(target_new), sum(realisation_new), sum(projection_new), sum(realisation_active)::float"
        " / sum(target_active), sum(projection_idr) / sum(target_idr)"
        " from bi.kpi_target_monthly where branch_id = any(%(ids)s) and month = %(month)s",
        ids=ids,
    )
    assert (head.new.target, head.new.realisation) == (new, realised)
    assert head.new.attainment == pytest.approx(float(realised) / float(new))
    assert head.new.projected == pytest.approx(projected / float(new))
    assert head.active.attainment == pytest.approx(active)
    assert head.idr.projected == pytest.approx(float(idr))


def test_branches_that_reported(scoped: tuple[View, list[str]]) -> None:
    view, ids = scoped
    head, days = headline(view), series.reporting(view)
    by_day = rows(
        "select business_date, sum(branches_expected), sum(branches_reported) from bi.kpi_branch_daily"
        " where branch_id = any(%(ids)s) and business_date > %(as_of)s::date - 28 group by 1 order by 1",
        ids=ids,
    )
    assert days == by_day
    assert len(days) == 28
    assert (AS_OF, head.expected, head.reported) == by_day[-1]


def test_protected_by_day_and_the_month_added_up(scoped: tuple[View, list[str]]) -> None:
    view, ids = scoped
    expected = rows(
        "select business_date, sum(aktif) from bi.kpi_branch_daily where branch_id = any(%(ids)s)"
        " and business_date >= '2024-12-01' group by 1 order by 1",
        ids=ids,
    )
    assert series.protected(view) == expected
    added = series.progress(view)
    for found, month in ((added.now, MONTH), (added.before, date(2025, 11, 1))):
        assert found == rows(
            "select extract(day from business_date), (sum(sum(acquisitions)) over (order by business_date))"
            " from bi.kpi_branch_daily where branch_id = any(%(ids)s)"
            " and date_trunc('month', business_date) = %(start)s group by business_date order by business_date",
            ids=ids,
            start=month,
        )
    assert added.days_in_month == 31


def test_channels_of_28_days_and_the_28_before(scoped: tuple[View, list[str]]) -> None:
    view, ids = scoped
    expected = rows(
        "select channel_code, sum(registrations) filter (where business_date > %(as_of)s::date - 28) as latest,"
        " sum(registrations) filter (where business_date <= %(as_of)s::date - 28)"
        " from bi.kpi_channel_daily where branch_id = any(%(ids)s) and business_date > %(as_of)s::date - 56"
        " group by 1 order by latest desc, channel_code",
        ids=ids,
    )
    found = series.channels(view)
    assert [(channel.code, channel.latest, channel.before) for channel in found] == expected
    assert all(len(channel.days) == 56 for channel in found)
    assert sum(amount for channel in found for _, amount in channel.days) == sum(
        latest + before for _, latest, before in expected
    )


def test_the_funnel_and_what_activities_cost(scoped: tuple[View, list[str]]) -> None:
    view, ids = scoped
    found = field.funnel(view)
    funnel = one(
        "select sum(contacts) filter (where type <> 'RADIO'), sum(registrations) filter (where type <> 'RADIO'),"
        " sum(acquisitions) filter (where type <> 'RADIO'), coalesce(sum(contacts) filter (where type = 'RADIO'), 0)"
        " from bi.kpi_activity k join bi.dim_activity d using (branch_id, activity_code)"
        " where k.branch_id = any(%(ids)s) and d.started_on > %(as_of)s::date - 90",
        ids=ids,
    )
    assert (found.contacts, found.registrations, found.acquisitions, found.listeners) == funnel
    assert all(funnel) or view.branch_ids == {"KC055"}, "radio and other activities are both in the campaign"
    expected = rows(
        "select k.type, count(*), sum(k.contacts), sum(k.registrations), sum(k.acquisitions), sum(k.cost),"
        " sum(k.cost) / nullif(sum(k.acquisitions) filter (where k.cost is not null), 0)"
        " from bi.kpi_activity k join bi.dim_activity d using (branch_id, activity_code)"
        " where k.branch_id = any(%(ids)s) and d.started_on > %(as_of)s::date - 90 group by 1 order by 2 desc, 1",
        ids=ids,
    )
    types = [tuple(vars(row).values()) for row in field.by_type(view)]
    assert [row[:6] for row in types] == [row[:6] for row in expected]
    assert [row[6] for row in types] == pytest.approx([row[6] and float(row[6]) for row in expected])


def test_radio_lift_by_spot_and_together(scoped: tuple[View, list[str]]) -> None:
    view, ids = scoped
    found = field.spots(view)
    expected = rows(
        "select spot_date, observed, baseline, lift from bi.kpi_radio_lift where branch_id = any(%(ids)s)"
        " and spot_date > %(as_of)s::date - 180 and lift is not null order by spot_date",
        ids=ids,
    )
    assert sorted(tuple(vars(spot).values()) for spot in found) == sorted(expected)
    assert len(found) > 1
    assert field.lift(view) == pytest.approx(float(sum(row[1] for row in expected)) / sum(row[2] for row in expected))


def test_retention_by_cohort(scoped: tuple[View, list[str]]) -> None:
    view, ids = scoped
    expected = rows(
        "select cohort_month, month_n, sum(cohort_size), sum(covered) from bi.kpi_retention"
        " where branch_id = any(%(ids)s) group by 1, 2 order by 1, 2",
        ids=ids,
    )
    found = retention.cohorts(view, limit=99)
    assert [(c.month, n, c.size, covered) for c in found for n, covered in c.covered.items()] == expected
    sizes = [(size, covered) for _, month_n, size, covered in expected if month_n == 3]
    assert retention.kept(view, 3) == pytest.approx(float(sum(c for _, c in sizes) / sum(s for s, _ in sizes)))


def test_the_coverage_of_the_latest_month_end(snapshot: Snapshot) -> None:
    found = provinces(View(snapshot))
    expected = rows(
        "select province_code, aktif, coverage_pct from bi.kpi_coverage_province where month_end = '2025-11-30'"
    )
    assert found.day == date(2025, 11, 30)
    assert found.aktif == {code: aktif for code, aktif, _ in expected}
    assert found.coverage == pytest.approx({code: pct for code, _, pct in expected})
    assert len(found.coverage) == 34


def test_what_the_night_could_not_take_in(scoped: tuple[View, list[str]]) -> None:
    view, ids = scoped
    found = quality.night(view)
    expected = rows(
        "select feed, status, count(*) from bi.kpi_data_quality_daily where branch_id = any(%(ids)s)"
        " and business_date = %(as_of)s group by 1, 2 order by 1, 2",
        ids=ids,
    )
    counted = [(feed, status, n) for feed, by in found.slices.items() for status, n in by.items() if n]
    assert sorted(counted) == expected
    assert (found.sent, found.quarantined) == one(
        "select sum(rows_sent), sum(rows_quarantined) from bi.kpi_data_quality_daily"
        " where branch_id = any(%(ids)s) and business_date = %(as_of)s",
        ids=ids,
    )
    assert found.reasons == rows(
        "select code, sum(rows) from bi.quarantine_reasons_daily where branch_id = any(%(ids)s)"
        " and business_date = %(as_of)s group by 1 order by 2 desc, 1",
        ids=ids,
    )
    assert [(branch, *what) for branch, what in found.held.items()] == rows(
        "select branch_id, slices_held, held_since_date from bi.branch_standing"
        " where branch_id = any(%(ids)s) and slices_held > 0 order by 1",
        ids=ids,
    )
    absent = rows(
        "select branch_id, array_agg(feed order by feed) from bi.kpi_data_quality_daily where branch_id = any(%(ids)s)"
        " and business_date = %(as_of)s and status in ('missing', 'rejected') group by 1",
        ids=ids,
    )
    assert {branch: sorted(feeds) for branch, feeds in found.absent.items()} == dict(absent)


def test_rates_of_28_days_are_weighted_by_rows(scoped: tuple[View, list[str]]) -> None:
    view, ids = scoped
    found = quality.rates(view)
    nik, contactable, quarantined, on_time = one(
        "select sum(valid_nik_rate * rows_sent) / sum(rows_sent) filter (where valid_nik_rate is not null),"
        " sum(contactable_rate * rows_accepted) filter (where feed = 'pendaftaran')"
        " / sum(rows_accepted) filter (where contactable_rate is not null and feed = 'pendaftaran'),"
        " sum(rows_quarantined)::float / sum(rows_sent),"
        " count(*) filter (where status in ('on_time', 'empty'))::float / count(*)"
        " from bi.kpi_data_quality_daily where branch_id = any(%(ids)s) and business_date > %(as_of)s::date - 28",
        ids=ids,
    )
    assert vars(found) == pytest.approx(
        {"valid_nik": nik, "contactable": contactable, "quarantined": quarantined, "on_time": on_time}
    )
    assert quality.rows(view) == rows(
        "select feed, sum(rows_sent), sum(rows_accepted), sum(rows_quarantined), sum(warnings)"
        " from bi.kpi_data_quality_daily where branch_id = any(%(ids)s) and business_date > %(as_of)s::date - 28"
        " group by 1 order by array_position(array['pendaftaran', 'iuran', 'kegiatan'], feed)",
        ids=ids,
    )


def test_branches_beside_each_other_and_who_leads(snapshot: Snapshot) -> None:
    found = peers.branches(View(snapshot))
    expected = rows(
        "select b.branch_id, t.aktif, sum(d.registrations), sum(d.acquisitions), m.target_new, m.attainment_new"
        " from bi.dim_branch b left join bi.kpi_branch_daily d on d.branch_id = b.branch_id"
        " and d.business_date between %(month)s and %(as_of)s"
        " left join bi.kpi_branch_daily t on t.branch_id = b.branch_id and t.business_date = %(as_of)s"
        " left join bi.kpi_target_monthly m on m.branch_id = b.branch_id and m.month = %(month)s"
        " group by b.branch_id, t.aktif, m.target_new, m.attainment_new order by 1"
    )
    assert [(b.branch_id, b.aktif, b.registrations, b.acquisitions, b.target, b.attainment) for b in found] == [
        (i, a or 0, r or 0, q or 0, t, m) for i, a, r, q, t, m in expected
    ]
    best, worst = peers.leaders(found, 1)
    ranked = sorted((row[5], row[0]) for row in expected if row[5] is not None)
    assert (best[0].branch_id, worst[-1].branch_id) == (ranked[-1][1], ranked[0][1])
    best, worst = peers.leaders(found)
    assert not {b.branch_id for b in best} & {b.branch_id for b in worst}
    assert len(best) + len(worst) == len(ranked)


def test_activation_growth_and_conversion_can_be_compared(scoped: tuple[View, list[str]]) -> None:
    view, ids = scoped
    found = peers.standing(view)
    (activation,) = one(
        "select sum(activated_30d)::float / sum(registrations_30d_due) from bi.kpi_channel_daily"
        " where branch_id = any(%(ids)s) and business_date >= %(month)s",
        ids=ids,
    )
    (growth,) = one(
        "select sum(aktif) filter (where business_date = %(as_of)s)::float"
        " / sum(aktif) filter (where business_date = %(before)s) - 1"
        " from bi.kpi_branch_daily where branch_id = any(%(ids)s)",
        ids=ids,
        before=LAST_MONTH,
    )
    (conversion,) = one(
        "select sum(k.registrations)::float / sum(k.contacts)"
        " from bi.kpi_activity k join bi.dim_activity d using (branch_id, activity_code)"
        " where k.type <> 'RADIO' and k.branch_id = any(%(ids)s) and d.started_on > %(as_of)s::date - 90",
        ids=ids,
    )
    assert (found.activation, found.growth, found.conversion) == pytest.approx((activation, growth, conversion))


def test_a_snapshot_is_of_one_publication_and_the_same_each_time(snapshot: Snapshot, published: Campaign) -> None:
    from kkbc.reporting.reading import read_published

    assert read_published().texts == snapshot.texts
    assert snapshot.as_of == published.as_of


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        (date(2024, 3, 31), 1, date(2024, 2, 29)),
        (date(2024, 2, 29), 12, date(2023, 2, 28)),
        (date(2024, 1, 15), 1, date(2023, 12, 15)),
    ],
)
def test_the_same_day_of_a_shorter_month_is_its_end(day: date, months: int, expected: date) -> None:
    assert months_before(day, months) == expected
