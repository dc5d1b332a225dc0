"""The daily marts over a small world whose figures are worked out by hand from the KPI rules."""

from collections.abc import Callable
from datetime import date

import pytest

from tests.dbt_project.conftest import Mart
from tests.dbt_project.raw import World, days, jakarta

FIRST, AS_OF = date(2024, 1, 10), date(2024, 6, 30)
BRANCHES = ["KC001", "KC002", "KC003", "KC004"]


def world() -> World:
    w = World(BRANCHES, inactive={"KC004": (date(2024, 2, 1), date(2024, 2, 29))})

    # A registers at KC001, pays 31 Jan for one month (29 Feb is a leap day), renews on the day the month ends, and a
    # second time exactly 3 months after the end of it all: 29 Mar + 3 months = 29 Jun.
    w.registration("KC001", "A1", "a", "2024-01-20 10:00", channel_code="PASAR")
    w.payment("KC001", "PA1", "a", "2024-01-31", 1)
    w.payment("KC002", "PA2", "a", "2024-02-29", 1)
    w.payment("KC001", "PA3", "a", "2024-06-29", 1)

    # B registers twice at the same instant at two branches: the greater registration_no is credited and counts.
    w.registration("KC001", "B-2", "b", "2024-02-01 09:00", channel_code="RADIO")
    w.registration("KC002", "B-1", "b", "2024-02-01 09:00", channel_code="JMO")
    w.payment("KC003", "PB1", "b", "2024-02-03", 2)

    # C pays at KC003 before registering at KC002: credited to the registration after it, no activation time.
    w.payment("KC003", "PC1", "c", "2024-02-10", 1)
    w.registration("KC002", "C1", "c", "2024-02-12 08:00", channel_code="PERISAI")

    # D is known by payment alone; two payments start on the first day of coverage, the earlier paid takes the credit.
    w.payment("KC003", "PD2", "d", "2024-03-01", 1, paid="2024-03-01 11:00")
    w.payment("KC002", "PD1", "d", "2024-03-01", 3, paid="2024-02-28 11:00")

    # E registers and never pays; a second registration at KC003 is a repeat and moves where E counts.
    w.registration("KC001", "E1", "e", "2024-03-05 00:00")
    w.registration("KC003", "E2", "e", "2024-03-20 23:59:59")

    # F's registration is voided the next day, G's payment is voided after activation, H's void is corrected back.
    w.registration("KC001", "F1", "f", "2024-03-01")
    w.registration("KC001", "F1", "f", "2024-03-01", on="2024-03-02", state="BATAL", changed="2024-03-02")
    w.registration("KC002", "G1", "g", "2024-03-01")
    w.payment("KC002", "PG1", "g", "2024-03-02")
    w.payment("KC002", "PG1", "g", "2024-03-02", on="2024-03-09", state="BATAL", changed="2024-03-09")
    w.registration("KC002", "H1", "h", "2024-03-04", channel_code="KANTOR")
    w.registration("KC002", "H1", "h", "2024-03-04", on="2024-03-05", state="BATAL", changed="2024-03-05")
    w.registration("KC002", "H1", "h", "2024-03-06", on="2024-03-06", state="KOREKSI", channel_code="MITRA")

    # I registered before the first day and is covered since; J pays now for coverage that starts after as_of.
    w.registration("KC001", "I1", "i", "2023-12-15", on="2024-01-10")
    w.payment("KC001", "PI1", "i", "2023-12-20", 1, on="2024-01-10")
    w.registration("KC001", "J1", "j", "2024-06-29")
    w.payment("KC001", "PJ1", "j", "2024-07-01", 1, paid="2024-06-30 10:00")

    # K's registration falls on 1 May in Makassar and Jayapura but on 30 April in Jakarta.
    w.registration("KC003", "K1", "k", jakarta("2024-04-30 23:30"), on="2024-05-01")

    w.activity("KC001", "K-1", "2024-02-05 08:00", contacts=40, cost=500_000)
    w.activity("KC001", "K-2", "2024-02-05 13:00", contacts=10)

    # KC001's target is restated; KC002 has one of 0, KC003 none.
    w.target("KC001", "2024-02", 9, on="2024-02-01")
    w.target("KC001", "2024-02", 4, on="2024-02-20")
    w.target("KC002", "2024-02", 0, on="2024-02-01")
    w.target("KC001", "2024-01", 2, on="2024-01-10")

    w.slice("kegiatan", "KC002", "2024-02-02")
    w.slice("kegiatan", "KC002", "2024-02-03", sent_at=jakarta("2024-02-04 00:30:00"))
    w.slice("kegiatan", "KC002", "2024-02-04", sent_at=jakarta("2024-02-05 00:30:01"), rows_sent=1, rows_accepted=1)
    w.slice("kegiatan", "KC002", "2024-02-06", status="rejected", revision=2)
    w.slice("kegiatan", "KC002", "2024-02-06", status="rejected", revision=1, sent_at=jakarta("2024-02-09"))
    # The first revision was in time, the second not: on time. A rejected one does not count for that.
    w.slice("iuran", "KC002", "2024-02-06", status="superseded", rows_sent=7, rows_accepted=7)
    w.slice("iuran", "KC002", "2024-02-06", revision=2, sent_at=jakarta("2024-02-09"), rows_sent=4, rows_accepted=3,
            rows_quarantined=1, warnings=5, rows_nik_valid=2)  # fmt: skip
    w.slice("iuran", "KC002", "2024-02-07", status="rejected")
    w.slice("iuran", "KC002", "2024-02-07", revision=2, sent_at=jakarta("2024-02-09"))
    # A rejected later revision leaves the one in force alone.
    w.slice("pendaftaran", "KC002", "2024-02-07", rows_sent=10, rows_accepted=8, rows_quarantined=2, rows_nik_valid=9,
            rows_contactable=6)  # fmt: skip
    w.slice("pendaftaran", "KC002", "2024-02-07", revision=2, status="rejected", sent_at=jakarta("2024-02-08"))

    w.quarantined("pendaftaran", "KC002", "2024-02-07", 3, ["NIK_DATE", "AGE_RANGE", "NIK_DATE"])
    # Resolved is still quarantined; accepted since is not.
    w.quarantined("pendaftaran", "KC002", "2024-02-07", 5, ["NIK_DATE"], closed_at=jakarta("2024-02-08"),
                  closed_as="resolved")  # fmt: skip
    w.quarantined("pendaftaran", "KC002", "2024-02-07", 9, ["NIK_DATE"], closed_at=jakarta("2024-02-08"),
                  closed_as="accepted")  # fmt: skip
    w.quarantined("iuran", "KC002", "2024-02-06", 2, ["NEGATIVE"], revision=1)
    w.quarantined("iuran", "KC002", "2024-02-06", 2, ["AMOUNT_SUM"], revision=2)
    w.quarantined("target", "HQ", "2024-02-01", 4, ["CODE_UNKNOWN"])
    return w


@pytest.fixture(scope="module")
def read(build_world: Callable[[World, date, date], Callable[[str], Mart]]) -> Callable[[str], Mart]:
    return build_world(world(), FIRST, AS_OF)


@pytest.fixture(scope="module")
def branch(read: Callable[[str], Mart]) -> Mart:
    return read("kpi_branch_daily")


@pytest.fixture(scope="module")
def nation(read: Callable[[str], Mart]) -> Mart:
    return read("kpi_national_daily")


def events(mart: Mart, column: str) -> dict[tuple[str, str], int]:
    """The days of a mart on which a count is not 0."""
    return {(b, f"{d:%m-%d}"): int(row[column]) for (b, d), row in mart.items() if row[column]}


def test_every_branch_has_a_row_on_every_day(branch: Mart, nation: Mart) -> None:
    assert set(branch) == {(b, d) for b in BRANCHES for d in days(FIRST, AS_OF)}
    assert set(nation) == {(d,) for d in days(FIRST, AS_OF)}


def test_registrations_count_at_their_branch_and_jakarta_day(branch: Mart) -> None:
    assert events(branch, "registrations") == {
        ("KC001", "01-20"): 1,
        ("KC001", "02-01"): 1,
        ("KC002", "02-01"): 1,
        ("KC002", "02-12"): 1,
        ("KC001", "03-05"): 1,
        ("KC003", "03-20"): 1,
        ("KC002", "03-01"): 1,
        ("KC002", "03-06"): 1,
        ("KC001", "06-29"): 1,
        ("KC003", "04-30"): 1,
    }


def test_a_repeat_is_strictly_later(branch: Mart) -> None:
    assert events(branch, "repeat_registrations") == {("KC003", "03-20"): 1}


def test_acquisitions_are_credited(branch: Mart, read: Callable[[str], Mart]) -> None:
    assert events(branch, "acquisitions") == {
        ("KC001", "01-31"): 1,
        ("KC001", "02-03"): 1,
        ("KC002", "02-10"): 1,
        ("KC002", "03-01"): 1,
    }
    facts = {token: row for (token,), row in read("fct_acquisition").items()}
    assert {t: (r["branch_id"], r["channel_code"], r["activation_days"]) for t, r in facts.items()} == {
        "a": ("KC001", "PASAR", 11),
        "b": ("KC001", "RADIO", 2),
        "c": ("KC002", "PERISAI", None),
        "d": ("KC002", "TIDAK_DIKETAHUI", None),
        "i": ("KC001", "KANTOR", 5),
    }


def test_a_return_after_exactly_three_months_is_a_reactivation(branch: Mart, read: Callable[[str], Mart]) -> None:
    assert events(branch, "reactivations") == {("KC001", "06-29"): 1}
    intervals = [(r["coverage_start"], r["coverage_end"]) for (t, _), r in read("fct_coverage").items() if t == "a"]
    assert sorted(intervals) == [
        (date(2024, 1, 31), date(2024, 3, 29)),
        (date(2024, 6, 29), date(2024, 7, 29)),
    ]


@pytest.mark.parametrize(
    ("at", "day", "aktif", "menunggak", "non_aktif", "belum_aktif"),
    [
        # i is covered from before the first day until 19 Jan, overdue from 20 Jan, lapsed from 20 Apr.
        ("KC001", "2024-01-10", 1, 0, 0, 0),
        ("KC001", "2024-01-19", 1, 0, 0, 0),
        ("KC001", "2024-01-20", 0, 1, 0, 1),  # a waits from here
        ("KC001", "2024-01-31", 1, 1, 0, 0),
        ("KC001", "2024-02-01", 1, 1, 0, 1),  # b waits, at KC001 for B-2 is the greater
        ("KC001", "2024-02-29", 2, 1, 0, 0),
        ("KC001", "2024-03-19", 2, 1, 0, 1),
        ("KC001", "2024-03-28", 2, 1, 0, 0),  # e, who waited, went to KC003 on the 20th
        ("KC001", "2024-03-29", 1, 2, 0, 0),  # a's month has ended
        ("KC001", "2024-04-19", 0, 3, 0, 0),  # b ended on 3 Apr
        ("KC001", "2024-04-20", 0, 2, 1, 0),
        ("KC001", "2024-06-28", 0, 2, 1, 0),
        ("KC001", "2024-06-29", 1, 1, 1, 1),  # a is back, j registered
        ("KC001", "2024-06-30", 1, 1, 1, 1),  # j's coverage starts after as_of; b lapses on 3 July
        ("KC003", "2024-02-09", 0, 0, 0, 0),
        ("KC003", "2024-02-10", 1, 0, 0, 0),  # c counts where it paid until it registers at KC002
        ("KC003", "2024-02-11", 1, 0, 0, 0),
        ("KC003", "2024-02-12", 0, 0, 0, 0),
        ("KC002", "2024-02-12", 1, 0, 0, 0),
        ("KC003", "2024-03-20", 0, 0, 0, 1),
        ("KC002", "2024-03-05", 2, 0, 0, 1),  # c, d; g waits, for the payment was voided
        ("KC002", "2024-03-06", 2, 0, 0, 2),  # h is back by its correction
        ("KC002", "2024-03-10", 1, 1, 0, 2),
        ("KC002", "2024-06-01", 0, 2, 0, 2),
        ("KC002", "2024-06-09", 0, 2, 0, 2),
        ("KC002", "2024-06-10", 0, 1, 1, 2),
    ],
)
def test_status_counts(
    branch: Mart, at: str, day: str, aktif: int, menunggak: int, non_aktif: int, belum_aktif: int
) -> None:
    row = branch[at, date.fromisoformat(day)]
    found = {name: row[name] for name in ("aktif", "menunggak", "non_aktif", "belum_aktif")}
    assert found == {"aktif": aktif, "menunggak": menunggak, "non_aktif": non_aktif, "belum_aktif": belum_aktif}


def test_money_is_of_the_branch_that_took_it(branch: Mart) -> None:
    assert events(branch, "contributions_idr") == {
        ("KC001", "01-31"): 16_800,
        ("KC002", "02-29"): 16_800,
        ("KC001", "06-29"): 16_800,
        ("KC003", "02-03"): 33_600,
        ("KC003", "02-10"): 16_800,
        ("KC003", "03-01"): 16_800,
        ("KC002", "02-28"): 50_400,
        ("KC001", "06-30"): 16_800,
    }


def test_activities(branch: Mart) -> None:
    row = branch["KC001", date(2024, 2, 5)]
    assert (row["activities"], row["contacts"], row["activity_cost_idr"]) == (2, 50, 500_000)


def test_activation_rate_looks_back_30_days(branch: Mart, nation: Mart) -> None:
    rates = {(b, f"{d:%m-%d}"): row["activation_rate_30d"] for (b, d), row in branch.items()}
    # b's first registration is the one with the lowest registration_no, B-1 at KC002; c paid before it registered.
    # i's lies before the first day and counts in status only.
    assert {key: rate for key, rate in rates.items() if rate is not None} == {
        ("KC001", "02-19"): 1,
        ("KC002", "03-02"): 1,
        ("KC002", "03-13"): 1,
        ("KC001", "04-04"): 0,
        ("KC002", "03-31"): 0,
        ("KC002", "04-05"): 0,
        ("KC003", "05-30"): 0,
    }
    assert nation[date(2024, 3, 2),]["activation_rate_30d"] == 1
    assert nation[date(2024, 3, 3),]["activation_rate_30d"] is None


def test_attainment_is_over_branches_with_a_target(branch: Mart, nation: Mart) -> None:
    # A restatement changes past days too; a target of 0 makes no rate of its own, but adds to the nation's sums.
    attained = [branch["KC001", date(2024, 2, d)]["attainment_mtd"] for d in (1, 2, 3, 29)]
    assert attained == [0, 0, 0.25, 0.25]
    assert branch["KC002", date(2024, 2, 29)]["attainment_mtd"] is None
    assert branch["KC003", date(2024, 2, 29)]["attainment_mtd"] is None
    assert nation[date(2024, 2, 9),]["attainment_mtd"] == 0.25
    assert nation[date(2024, 2, 10),]["attainment_mtd"] == 0.5
    assert nation[date(2024, 1, 31),]["attainment_mtd"] == 0.5
    assert nation[date(2024, 3, 1),]["attainment_mtd"] is None


def test_branches_expected_and_reported(branch: Mart, nation: Mart) -> None:
    assert nation[date(2024, 1, 31),]["branches_expected"] == 3
    assert nation[date(2024, 2, 1),]["branches_expected"] == 4
    assert nation[date(2024, 3, 1),]["branches_expected"] == 3
    # On 6 Feb KC002 has an accepted revision of one feed and only rejected ones of another.
    assert branch["KC002", date(2024, 2, 6)]["branches_reported"] == 1
    assert branch["KC002", date(2024, 2, 5)]["branches_reported"] == 0
    assert nation[date(2024, 2, 2),]["branches_reported"] == 1


def test_deliveries_of_a_branch_day(branch: Mart) -> None:
    assert events(branch, "quarantined") == {("KC002", "02-06"): 1, ("KC002", "02-07"): 2}
    assert events(branch, "slices_late") == {("KC002", "02-04"): 1, ("KC002", "02-07"): 1}


@pytest.mark.parametrize(
    ("feed", "day", "expected"),
    [
        ("kegiatan", "2024-02-01", ("missing", None, 0, 0, 0, 0, None, None)),
        ("kegiatan", "2024-02-02", ("empty", 1, 0, 0, 0, 0, None, None)),
        ("kegiatan", "2024-02-03", ("empty", 1, 0, 0, 0, 0, None, None)),
        ("kegiatan", "2024-02-04", ("late", 1, 1, 1, 0, 0, None, None)),
        ("kegiatan", "2024-02-06", ("rejected", 2, 0, 0, 0, 0, None, None)),
        ("iuran", "2024-02-06", ("on_time", 2, 4, 3, 1, 5, 0.5, None)),
        ("iuran", "2024-02-07", ("late", 2, 0, 0, 0, 0, None, None)),
        ("pendaftaran", "2024-02-07", ("on_time", 1, 10, 8, 2, 0, 0.9, 0.75)),
    ],
)
def test_data_quality(read: Callable[[str], Mart], feed: str, day: str, expected: tuple[object, ...]) -> None:
    row = read("kpi_data_quality_daily")["KC002", feed, date.fromisoformat(day)]
    assert tuple(row.values())[3:] == expected


def test_data_quality_has_a_row_for_every_expected_slice(read: Callable[[str], Mart]) -> None:
    always = {(b, f, d) for b in BRANCHES[:3] for f in ("pendaftaran", "iuran", "kegiatan") for d in days(FIRST, AS_OF)}
    february = days(date(2024, 2, 1), date(2024, 2, 29))
    sometimes = {("KC004", f, d) for f in ("pendaftaran", "iuran", "kegiatan") for d in february}
    assert set(read("kpi_data_quality_daily")) == always | sometimes


def test_quarantine_reasons(read: Callable[[str], Mart]) -> None:
    assert {key: row["rows"] for key, row in read("quarantine_reasons_daily").items()} == {
        ("KC002", "pendaftaran", date(2024, 2, 7), "NIK_DATE"): 2,
        ("KC002", "pendaftaran", date(2024, 2, 7), "AGE_RANGE"): 1,
        ("KC002", "iuran", date(2024, 2, 6), "AMOUNT_SUM"): 1,
        ("HQ", "target", date(2024, 2, 1), "CODE_UNKNOWN"): 1,
    }


def test_the_nation_is_the_sum_of_its_branches(branch: Mart, nation: Mart) -> None:
    for name in ("registrations", "acquisitions", "reactivations", "aktif", "menunggak", "non_aktif", "belum_aktif"):
        for (day,), row in nation.items():
            assert row[name] == sum(branch[b, day][name] for b in BRANCHES), (name, day)
