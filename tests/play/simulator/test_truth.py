"""The truth: consistent in itself, and right on cases made by hand."""

from datetime import date, timedelta
from typing import Any

import pytest

from kkbc_play.simulator import reference
from kkbc_play.simulator.calendar import DAY, midnight
from kkbc_play.simulator.truth import campaign, monthly, truth_of
from kkbc_play.simulator.truth.daily import Daily, channels
from kkbc_play.simulator.truth.facts import Activity, Facts, Payment, Registration, SliceRecord, Target
from kkbc_play.simulator.truth.nation import Nation

TABLES = reference.load()
FIRST = date(2023, 12, 11)
LONG_AFTER = midnight(FIRST) + 9 * DAY
ADDITIVE = (
    *("branches_expected", "branches_reported", "registrations", "acquisitions", "reactivations"),
    *("aktif", "menunggak", "non_aktif", "belum_aktif", "contributions_idr"),
)


def slice_of(
    feed: str, day: date, *, revision: int = 1, rows: int = 1, sent_at: int | None = None, rejection: str | None = None
) -> SliceRecord:
    moment = midnight(day) + 20 * 3600 if sent_at is None else sent_at
    rows = 0 if rejection else rows
    return SliceRecord(feed, "KC001", day, revision, moment, rejection, rows, rows, 0, 0, rows, rows, {})


def register(
    nik: str, day: date, *, key: str = "", revision: int = 1, updated: int = 0, status: str = "BARU"
) -> Registration:
    at = midnight(day)
    return Registration(
        "KC001", FIRST, revision, 0, key or nik, updated, status, nik, at, day, "RADIO", "A1", "NELAYAN"
    )  # fmt: skip


def pay(nik: str, start: date, months: int = 1) -> Payment:
    return Payment("KC001", FIRST, 1, 0, nik, 0, "BARU", nik, midnight(start), start, start, months, 16_800)


def nation(facts: Facts, as_of: date = FIRST, first: date = FIRST) -> Nation:
    facts.slices += [slice_of(feed, FIRST) for feed in ("pendaftaran", "iuran", "kegiatan")]
    return Nation(facts, TABLES, first, as_of)


def of_branch(entries: list[dict[str, Any]], day: date) -> dict[str, Any]:
    return next(e for e in entries if e["branch_id"] == "KC001" and e["business_date"] == day.isoformat())


def test_national_figures_are_the_sums_of_the_branches(truth: dict[str, Any]) -> None:
    marts = truth["marts"]
    for entry in marts["kpi_national_daily"]:
        branches = [b for b in marts["kpi_branch_daily"] if b["business_date"] == entry["business_date"]]
        assert len(branches) == len(TABLES.ids)
        assert {name: entry[name] for name in ADDITIVE} == {name: sum(b[name] for b in branches) for name in ADDITIVE}


def test_channels_add_up_to_branches(truth: dict[str, Any]) -> None:
    for name in ("registrations", "acquisitions"):
        channel_sum = sum(entry[name] for entry in truth["marts"]["kpi_channel_daily"])
        assert channel_sum == sum(entry[name] for entry in truth["marts"]["kpi_branch_daily"]) > 0


def test_stocks_move_by_what_happens(truth: dict[str, Any]) -> None:
    """Everyone who was ever counted stays counted, under one status."""
    entries = truth["marts"]["kpi_national_daily"]
    everyone = [sum(e[s] for s in ("aktif", "menunggak", "non_aktif", "belum_aktif")) for e in entries]
    assert everyone == sorted(everyone)
    assert all(entry[s] for entry in entries for s in ("aktif", "menunggak", "non_aktif"))


def test_rows_sent_are_accepted_or_quarantined(truth: dict[str, Any]) -> None:
    quarantined: dict[tuple[str, str, str], int] = {}
    for q in truth["quarantine"]:
        key = (q["feed"], q["branch_id"], q["business_date"])
        quarantined[key] = quarantined.get(key, 0) + q["rows"]
    for s in truth["slices"]:
        assert s["rows_sent"] == s["rows_accepted"] + s["rows_quarantined"]
        assert quarantined.get((s["feed"], s["branch_id"], s["business_date"]), 0) >= s["rows_quarantined"]
    assert any(s["warnings"] for s in truth["slices"])


def test_the_latest_row_of_a_key_is_in_force_and_batal_voids_it() -> None:
    rows = [
        register("n1", FIRST, updated=5),
        register("n1", FIRST, updated=9, status="BATAL"),
        register("n2", FIRST, updated=9, status="BATAL"),
        register("n2", FIRST, updated=12, status="KOREKSI"),
    ]
    assert [r.nik for r in nation(Facts(registrations=rows)).registrations] == ["n2"]


def test_a_rejected_revision_displaces_nothing_and_a_later_one_replaces_the_slice_whole() -> None:
    rows = [register("n1", FIRST), register("n2", FIRST, revision=3)]
    refused = slice_of("pendaftaran", FIRST, revision=2, rejection="CHECKSUM")
    assert [r.nik for r in nation(Facts([refused], rows)).registrations] == ["n1"]
    replacing = slice_of("pendaftaran", FIRST, revision=3)
    assert [r.nik for r in nation(Facts([refused, replacing], rows)).registrations] == ["n2"]


@pytest.mark.parametrize(
    ("records", "status", "revision"),
    [
        ([], "missing", None),
        ([slice_of("iuran", FIRST)], "on_time", 1),
        ([slice_of("iuran", FIRST, rows=0)], "empty", 1),
        ([slice_of("iuran", FIRST, sent_at=midnight(FIRST) + DAY + 1800)], "on_time", 1),
        ([slice_of("iuran", FIRST, sent_at=midnight(FIRST) + DAY + 1801)], "late", 1),
        ([slice_of("iuran", FIRST, rows=0, sent_at=midnight(FIRST) + 2 * DAY)], "late", 1),
        ([slice_of("iuran", FIRST, revision=n, rejection="HEADER") for n in (1, 2)], "rejected", 2),
        ([slice_of("iuran", FIRST), slice_of("iuran", FIRST, revision=2, rejection="HEADER")], "on_time", 1),
        ([slice_of("iuran", FIRST), slice_of("iuran", FIRST, revision=2, sent_at=LONG_AFTER)], "on_time", 2),
        (
            [slice_of("iuran", FIRST, rejection="HEADER"), slice_of("iuran", FIRST, revision=2, sent_at=LONG_AFTER)],
            "late",
            2,
        ),
    ],
)  # fmt: skip
def test_status_of_a_slice(records: list[SliceRecord], status: str, revision: int | None) -> None:
    truth = truth_of(Facts(records), TABLES, FIRST, FIRST)
    entry = next(s for s in truth["slices"] if (s["feed"], s["branch_id"]) == ("iuran", "KC001"))
    assert (entry["status"], entry["revision"]) == (status, revision)


def test_the_share_activated_counts_coverage_from_before_the_registration() -> None:
    registered = FIRST - timedelta(days=30)
    before = registered - timedelta(days=1)
    facts = Facts(registrations=[register(n, registered) for n in ("n1", "n2", "n3", "n4")])
    facts.payments = [
        pay("n1", registered - timedelta(days=40)),
        pay("n2", FIRST),
        pay("n3", FIRST + timedelta(days=1)),
    ]
    facts.registrations.append(register("n5", before))  # before the first business date: not a daily figure
    truth = nation(facts, FIRST + timedelta(days=1), first=registered)
    daily = Daily(truth).branches()
    assert of_branch(daily, FIRST)["activation_rate_30d"] == 0.5
    assert of_branch(daily, FIRST - timedelta(days=1))["activation_rate_30d"] is None
    entry = next(e for e in channels(truth) if e["business_date"] == FIRST.isoformat())
    assert (entry["registrations_30d_due"], entry["activated_30d"]) == (4, 2)
    assert (entry["acquisitions"], entry["activation_days_sum"], entry["activation_days_count"]) == (1, 30, 1)


def test_attainment_runs_from_the_first_of_the_month_and_leaves_branches_without_target_out() -> None:
    facts = Facts(payments=[pay("n1", date(2023, 12, 1)), pay("n2", FIRST), pay("n3", date(2023, 11, 30))])
    facts.payments.append(pay("n4", FIRST)._replace(branch_id="KC002"))
    facts.slices = [
        slice_of("target", FIRST)._replace(branch_id="HQ"),
        slice_of("iuran", FIRST)._replace(branch_id="KC002"),
    ]
    facts.targets = [Target("HQ", FIRST, 1, 0, "KC001", "2023-12", 8, 0, 0)]
    daily = Daily(nation(facts))
    assert of_branch(daily.branches(), FIRST)["attainment_mtd"] == 0.25
    assert daily.national()[0]["attainment_mtd"] == 0.25
    assert daily.national()[0]["acquisitions"] == 2


def test_a_restated_target_is_in_force_by_business_date_then_line() -> None:
    later = FIRST + timedelta(days=1)
    facts = Facts([slice_of("target", day)._replace(branch_id="HQ") for day in (FIRST, later)])
    facts.targets = [
        Target("HQ", FIRST, 1, 7, "KC001", "2023-12", 10, 0, 0),
        Target("HQ", later, 1, 0, "KC001", "2023-12", 20, 0, 0),
        Target("HQ", later, 1, 1, "KC001", "2023-12", 30, 0, 0),
    ]
    assert nation(facts, later).targets["KC001", "2023-12"].new == 30


def activity(
    day: date, *, kind: str = "RADIO", key: str = "A1", contacts: int = 10, cost: int | None = 100
) -> Activity:
    return Activity("KC001", FIRST, 1, 0, key, 0, "BARU", kind, day, day, contacts, cost)


def test_activities_divide_by_nothing_into_null() -> None:
    facts = Facts(registrations=[register(n, FIRST) for n in ("n1", "n2")], payments=[pay("n1", FIRST)])
    facts.activities = [activity(FIRST), activity(FIRST, key="A2", contacts=0, cost=None)]
    one, other = campaign.activities(nation(facts))
    assert (one["registrations"], one["acquisitions"]) == (2, 1)
    assert (one["conversion"], one["paid_conversion"], one["cost_per_acquisition"]) == (0.2, 0.5, 100)
    assert (other["conversion"], other["paid_conversion"], other["cost_per_acquisition"]) == (None, None, None)


def test_an_acquisition_counts_for_its_activity_up_to_thirty_days_after_its_end() -> None:
    start = FIRST - timedelta(days=40)
    facts = Facts(registrations=[register(n, start) for n in ("n1", "n2")], activities=[activity(start)])
    facts.payments = [pay("n1", start + timedelta(days=30)), pay("n2", start + timedelta(days=31))]
    assert campaign.activities(nation(facts))[0]["acquisitions"] == 1


def test_radio_lift_leaves_out_days_of_other_spots_and_days_without_a_slice() -> None:
    spot = FIRST + timedelta(days=28)
    facts = Facts(activities=[activity(spot), activity(spot - timedelta(days=7), key="A2")])
    facts.registrations = [register(f"n{i}", spot + timedelta(days=i % 3)) for i in range(12)]
    facts.registrations += [register(f"m{i}", spot - timedelta(days=14)) for i in range(2)]
    facts.registrations += [register(f"k{i}", spot - timedelta(days=21)) for i in range(4)]
    facts.slices = [slice_of("pendaftaran", spot - timedelta(days=back)) for back in (7, 14, 21)]
    entries = campaign.radio_lift(nation(facts, spot + timedelta(days=2)))
    latest = next(e for e in entries if e["spot_date"] == spot.isoformat())
    # Left are 14 and 21 days before, and 28 days before with no registrations (the first business date).
    assert (latest["observed"], latest["baseline"], latest["lift"]) == (12, 6.0, 2.0)
    early = campaign.radio_lift(nation(facts, spot + timedelta(days=1)))
    assert next(e for e in early if e["spot_date"] == spot.isoformat())["observed"] is None


def test_retention_waits_for_the_whole_cohort() -> None:
    facts = Facts(registrations=[register(n, date(2023, 11, 1)) for n in ("n1", "n2")])
    facts.payments = [pay("n1", date(2023, 11, 5), 1), pay("n2", date(2023, 11, 6), 2)]
    assert monthly.retention(nation(facts, date(2023, 12, 29))) == []
    (entry,) = monthly.retention(nation(facts, date(2023, 12, 30)))
    assert (entry["cohort_month"], entry["month_n"], entry["cohort_size"], entry["covered"]) == ("2023-11-01", 1, 2, 1)


def test_targets_are_ranked_one_one_three_within_the_regional_office() -> None:
    office = TABLES.branches["KC001"].kanwil_id
    ids = [b.branch_id for b in TABLES.branches.values() if b.kanwil_id == office][:4]
    facts = Facts([slice_of("target", FIRST)._replace(branch_id="HQ")])
    facts.slices += [slice_of("iuran", FIRST)._replace(branch_id=b) for b in ids]
    facts.targets = [Target("HQ", FIRST, 1, n, b, "2023-12", (4, 4, 8, 0)[n], 5, 6) for n, b in enumerate(ids)]
    facts.payments = [pay(f"n{b}", FIRST)._replace(branch_id=b) for b in ids]
    entries = monthly.targets(nation(facts))
    assert [entry["rank"] for entry in entries] == [1, 1, 3, None]
    assert entries[0]["projection_new"] == pytest.approx(31 / 11)
    assert (entries[0]["projection_active"], entries[3]["attainment_new"]) == (1.0, None)


def test_provinces_are_those_of_before_the_split() -> None:
    papua = next(b.branch_id for b in TABLES.branches.values() if b.province_code == "94")
    facts = Facts(
        [slice_of("iuran", FIRST)._replace(branch_id=papua)], payments=[pay("n1", FIRST)._replace(branch_id=papua)]
    )
    entries = monthly.coverage_by_province(nation(facts, date(2023, 12, 31)))
    assert len(entries) == 34
    assert {e["province_code"]: e["aktif"] for e in entries if e["aktif"]} == {"91": 1}


def test_unknown_occupations_are_one() -> None:
    facts = Facts(registrations=[register("n1", FIRST)._replace(occupation="9999")], payments=[pay("n2", FIRST)])
    entries = monthly.occupations(nation(facts))
    assert [(e["occupation_code"], e["registrations"], e["acquisitions"], e["aktif"]) for e in entries] == [
        ("TIDAK_DIKETAHUI", 1, 1, 1)
    ]
