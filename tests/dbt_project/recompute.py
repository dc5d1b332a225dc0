"""The marts recomputed in plain Python, one participant and one day at a time, straight from the KPI rules.

Slow and simple on purpose: it shares no thought with the SQL, so that the two agree only where both are right.
"""

import calendar
import csv
from collections import Counter, defaultdict
from datetime import date, timedelta
from fractions import Fraction
from functools import cached_property
from itertools import product
from typing import Any

from kkbc.core.settings import PROJECT_ROOT
from tests.dbt_project.raw import JAKARTA, Row, World, days, jakarta

UNKNOWN = "TIDAK_DIKETAHUI"
FEEDS = ("pendaftaran", "iuran", "kegiatan")
STATUSES = ("aktif", "menunggak", "non_aktif", "belum_aktif")
Mart = dict[tuple[Any, ...], dict[str, Any]]


def seed(name: str) -> list[dict[str, str]]:
    """Rows of a seed, as text."""
    with (PROJECT_ROOT / "dbt_project" / "seeds" / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def plus_months(day: date, n: int) -> date:
    """Calendar months later, clipped to the month's end."""
    year, month = divmod(day.year * 12 + day.month - 1 + n, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def last_of_month(day: date) -> date:
    return date(day.year, day.month, calendar.monthrange(day.year, day.month)[1])


def ratio(numerator: Any, denominator: Any) -> float | None:
    return None if numerator is None or not denominator else float(Fraction(int(numerator), int(denominator)))


def local(moment: Any) -> date:
    day: date = moment.astimezone(JAKARTA).date()
    return day


class Person:
    """One participant: registrations and payments in force."""

    def __init__(self) -> None:
        self.registrations: list[Row] = []
        self.payments: list[Row] = []

    @cached_property
    def coverage(self) -> list[tuple[date, date]]:
        merged: list[tuple[date, date]] = []
        for start, end in sorted(
            (p["coverage_start"], plus_months(p["coverage_start"], p["months_covered"])) for p in self.payments
        ):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    @cached_property
    def activated_on(self) -> date | None:
        return self.coverage[0][0] if self.coverage else None

    @cached_property
    def first(self) -> Row | None:
        return min(
            self.registrations, key=lambda r: (r["registered_at"], r["registration_no"], r["branch_id"]), default=None
        )

    @cached_property
    def reactivations(self) -> list[date]:
        pairs = zip(self.coverage, self.coverage[1:], strict=False)
        return [after[0] for before, after in pairs if after[0] >= plus_months(before[1], 3)]

    def covered(self, day: date) -> bool:
        return any(start <= day < end for start, end in self.coverage)

    def status(self, day: date) -> str | None:
        if self.covered(day):
            return "aktif"
        ends = [end for start, end in self.coverage if start <= day]
        if ends:
            return "menunggak" if day < plus_months(max(ends), 3) else "non_aktif"
        return "belum_aktif" if any(r["day"] <= day for r in self.registrations) else None

    def latest(self, day: date) -> Row | None:
        known = [r for r in self.registrations if r["day"] <= day]
        return max(known, key=lambda r: (r["registered_at"], r["registration_no"], r["branch_id"]), default=None)

    def counts_for(self, day: date) -> tuple[str, str]:
        """Branch and occupation that the status counts for."""
        registration = self.latest(day)
        if registration:
            return registration["branch_id"], known_occupation(registration)
        return min(self.payments, key=lambda p: (p["paid_at"], p["branch_id"], p["payment_id"]))["branch_id"], UNKNOWN

    @cached_property
    def credited(self) -> Row | None:
        assert self.activated_on is not None
        before = self.latest(self.activated_on)
        if before or not self.registrations:
            return before
        earliest = min(r["registered_at"] for r in self.registrations)
        return max(
            (r for r in self.registrations if r["registered_at"] == earliest),
            key=lambda r: (r["registration_no"], r["branch_id"]),
        )

    @cached_property
    def credit(self) -> dict[str, Any]:
        registration = self.credited
        if registration:
            days_taken = (self.activated_on - registration["day"]).days  # type: ignore[operator]
            return {
                **{k: registration[k] for k in ("branch_id", "channel_code", "activity_code")},
                "occupation": known_occupation(registration),
                "days": days_taken if days_taken >= 0 else None,
            }
        paid = min(
            (p for p in self.payments if p["coverage_start"] == self.activated_on),
            key=lambda p: (p["paid_at"], p["branch_id"], p["payment_id"]),
        )
        return {
            "branch_id": paid["branch_id"],
            "channel_code": UNKNOWN,
            "activity_code": None,
            "occupation": UNKNOWN,
            "days": None,
        }


OCCUPATIONS = {row["code"] for row in seed("occupations")}
ALL_OCCUPATIONS = {*OCCUPATIONS, UNKNOWN}


def known_occupation(registration: Row) -> str:
    code: str = registration["occupation_code"]
    return code if code in OCCUPATIONS else UNKNOWN


class Recomputed:
    """All marts of `world` from `first` to `as_of`, each as rows by primary key."""

    def __init__(self, world: World, first: date, as_of: date) -> None:
        self.world, self.first, self.as_of = world, first, as_of
        self.days = days(first, as_of)
        self.registrations = self._in_force("pendaftaran", "registration_no", "registered_at")
        self.payments = self._in_force("iuran", "payment_id", "paid_at")
        self.activities = self._in_force("kegiatan", "activity_code", "started_at")
        self.people: dict[str, Person] = defaultdict(Person)
        for row in self.registrations:
            self.people[row["participant_token"]].registrations.append(row)
        for row in self.payments:
            self.people[row["participant_token"]].payments.append(row)
        self.acquired = [p for p in self.people.values() if p.activated_on and p.activated_on <= as_of]
        self.targets: dict[tuple[str, date], Row] = {}
        for row in sorted(self._delivered("target"), key=lambda r: (r["_business_date"], r["_line"])):
            self.targets[row["branch_id"], row["month"]] = row
        self.stock = Counter(
            (person.status(day), *person.counts_for(day), day)
            for person in self.people.values()
            for day in days(first, as_of)
            if person.status(day)
        )
        self.slices: dict[tuple[str, str, date], list[Row]] = defaultdict(list)
        for row in world.slices:
            if row["business_date"] <= as_of:
                self.slices[row["branch_id"], row["feed"], row["business_date"]].append(row)

    def _delivered(self, feed: str) -> list[Row]:
        return [row for row in self.world.rows[feed] if row["_business_date"] <= self.as_of]

    def _in_force(self, feed: str, number: str, event: str) -> list[Row]:
        """Rows in force, each with the Jakarta day of its event."""
        latest: dict[tuple[str, str], Row] = {}
        for row in self._delivered(feed):
            key = (row["branch_id"], row[number])
            rank = (row["updated_at"], row["_business_date"], row["_line"])
            other = latest.get(key)
            if other is None or rank > (other["updated_at"], other["_business_date"], other["_line"]):
                latest[key] = row
        return [
            {**row, "day": local(row[event])}
            for row in latest.values()
            if row["record_status"] != "BATAL" and row.get("participant_token") not in self.world.restricted
        ]

    def _attained(self, branch: str, day: date) -> int:
        month = day.replace(day=1)
        return sum(1 for p in self.acquired if p.credit["branch_id"] == branch and month <= p.activated_on <= day)  # type: ignore[operator]

    def _due(self, day: date) -> list[Person]:
        at = day - timedelta(days=30)
        return [p for p in self.people.values() if p.first and p.first["day"] == at >= self.first]

    def _day(self, branches: list[str], day: date) -> dict[str, Any]:
        due = [p for p in self._due(day) if p.first["branch_id"] in branches]  # type: ignore[index]
        with_target = [b for b in branches if (b, day.replace(day=1)) in self.targets]
        aimed = sum(self.targets[b, day.replace(day=1)]["target_new"] for b in with_target)
        return {
            "branches_expected": sum(self._expected(b, day) for b in branches),
            "branches_reported": sum(
                any(s["status"] == "loaded" for feed in FEEDS for s in self.slices.get((b, feed, day), []))
                for b in branches
            ),
            "registrations": sum(r["branch_id"] in branches and r["day"] == day for r in self.registrations),
            "acquisitions": sum(p.credit["branch_id"] in branches and p.activated_on == day for p in self.acquired),
            "reactivations": sum(
                day in p.reactivations and p.counts_for(day)[0] in branches for p in self.people.values()
            ),
            **{
                status: sum(self.stock[status, b, occupation, day] for b in branches for occupation in ALL_OCCUPATIONS)
                for status in STATUSES
            },
            "contributions_idr": sum(
                p["total_amount"] for p in self.payments if p["branch_id"] in branches and p["day"] == day
            ),
            "activation_rate_30d": ratio(
                sum(p.activated_on is not None and p.activated_on <= day for p in due), len(due)
            ),
            "attainment_mtd": ratio(sum(self._attained(b, day) for b in with_target), aimed),
        }

    def _expected(self, branch: str, day: date) -> bool:
        begins, ends = self.world.inactive.get(branch, (None, None))
        return (begins is None or begins <= day) and (ends is None or day <= ends)

    def kpi_national_daily(self) -> Mart:
        return {(day,): {"business_date": day, **self._day(self.world.branches, day)} for day in self.days}

    def kpi_branch_daily(self) -> Mart:
        mart: Mart = {}
        quality = self.kpi_data_quality_daily()
        repeats = [
            r
            for p in self.people.values()
            for r in p.registrations
            if any(o["registered_at"] < r["registered_at"] for o in p.registrations)
        ]
        for branch, day in product(self.world.branches, self.days):
            held = [a for a in self.activities if a["branch_id"] == branch and a["day"] == day]
            slices = [quality[branch, feed, day] for feed in FEEDS if (branch, feed, day) in quality]
            mart[branch, day] = {
                "branch_id": branch,
                "business_date": day,
                **self._day([branch], day),
                "activities": len(held),
                "contacts": sum(a["contacts"] for a in held),
                "activity_cost_idr": sum(a["cost"] or 0 for a in held),
                "repeat_registrations": sum(r["branch_id"] == branch and r["day"] == day for r in repeats),
                "quarantined": sum(row["rows_quarantined"] for row in slices),
                "slices_late": sum(row["status"] == "late" for row in slices),
            }
        return mart

    def kpi_data_quality_daily(self) -> Mart:
        mart: Mart = {}
        for branch, feed, day in product(self.world.branches, FEEDS, self.days):
            seen = self.slices.get((branch, feed, day), [])
            owed = self.world.owed_from.get(feed, day) <= day
            if not seen and not (owed and self._expected(branch, day)):
                continue
            taken = [s for s in seen if s["status"] != "rejected"]
            loaded = next((s for s in seen if s["status"] == "loaded"), None)
            counts = loaded or {}
            deadline = jakarta(f"{day + timedelta(days=1)} 00:30:00")
            if not seen:
                status = "missing"
            elif not taken:
                status = "rejected"
            elif min(s["sent_at"] for s in taken) > deadline:
                status = "late"
            else:
                status = "on_time" if counts["rows_sent"] else "empty"
            mart[branch, feed, day] = {
                "branch_id": branch,
                "feed": feed,
                "business_date": day,
                "status": status,
                "revision": loaded["revision"] if loaded else max((s["revision"] for s in seen), default=None),
                **{n: counts.get(n, 0) for n in ("rows_sent", "rows_accepted", "rows_quarantined", "warnings")},
                "valid_nik_rate": None
                if feed == "kegiatan"
                else ratio(counts.get("rows_nik_valid"), counts.get("rows_sent")),
                "contactable_rate": ratio(counts.get("rows_contactable"), counts.get("rows_accepted"))
                if feed == "pendaftaran"
                else None,
            }
        return mart

    def quarantine_reasons_daily(self) -> Mart:
        in_force = {
            (s["feed"], s["branch_id"], s["business_date"], s["revision"])
            for revisions in self.slices.values()
            for s in revisions
            if s["status"] == "loaded"
        }
        counts: Counter[tuple[Any, ...]] = Counter()
        for row in self.world.quarantine:
            place = (row["feed"], row["branch_id"], row["business_date"], row["revision"])
            quarantined = row.get("closed_as") in (None, "resolved", "erased")
            if place in in_force and quarantined and self.first <= row["business_date"] <= self.as_of:
                for code in set(row["errors"]):
                    counts[row["branch_id"], row["feed"], row["business_date"], code] += 1
        names = ("branch_id", "feed", "business_date", "code")
        return {key: {**dict(zip(names, key, strict=True)), "rows": n} for key, n in counts.items()}

    def kpi_channel_daily(self) -> Mart:
        mart: Mart = {}
        measures = ("registrations", "acquisitions", "activation_days_sum", "activation_days_count")

        def at(branch: str, channel: str, day: date) -> dict[str, Any]:
            key = (branch, channel, day)
            names = (*measures, "activated_30d", "registrations_30d_due")
            return mart.setdefault(
                key, {"branch_id": branch, "channel_code": channel, "business_date": day, **dict.fromkeys(names, 0)}
            )

        for r in self.registrations:
            if r["day"] in self.days:
                at(r["branch_id"], r["channel_code"], r["day"])["registrations"] += 1
        for p in self.acquired:
            if p.activated_on in self.days:
                row = at(p.credit["branch_id"], p.credit["channel_code"], p.activated_on)
                row["acquisitions"] += 1
                if p.credit["days"] is not None:
                    row["activation_days_sum"] += p.credit["days"]
                    row["activation_days_count"] += 1
        for day in self.days:
            for p in self._due(day):
                assert p.first
                row = at(p.first["branch_id"], p.first["channel_code"], day)
                row["registrations_30d_due"] += 1
                row["activated_30d"] += p.activated_on is not None and p.activated_on <= day
        return mart

    def kpi_activity(self) -> Mart:
        mart: Mart = {}
        for a in self.activities:
            key = (a["branch_id"], a["activity_code"])
            registered = sum((r["branch_id"], r["activity_code"]) == key for r in self.registrations)
            until = local(a["ended_at"]) + timedelta(days=30)
            acquired = sum(
                (p.credit["branch_id"], p.credit["activity_code"]) == key and p.activated_on <= until  # type: ignore[operator]
                for p in self.acquired
            )
            mart[key] = {
                "branch_id": a["branch_id"],
                "activity_code": a["activity_code"],
                "type": a["activity_type"],
                "contacts": a["contacts"],
                "cost": a["cost"],
                "registrations": registered,
                "acquisitions": acquired,
                "conversion": ratio(registered, a["contacts"]),
                "paid_conversion": ratio(acquired, registered),
                "cost_per_acquisition": ratio(a["cost"], acquired),
            }
        return mart

    def kpi_radio_lift(self) -> Mart:
        mart: Mart = {}
        spots = {(a["branch_id"], a["day"]) for a in self.activities if a["activity_type"] == "RADIO"}
        delivered = {
            (branch, day)
            for (branch, feed, day), revisions in self.slices.items()
            if feed == "pendaftaran" and any(s["status"] == "loaded" for s in revisions)
        }
        counts = Counter((r["branch_id"], r["day"]) for r in self.registrations)
        for branch, spot in spots:
            row: dict[str, Any] = {"observed": None, "baseline": None, "lift": None}
            if spot + timedelta(days=2) <= self.as_of:
                row["observed"] = sum(counts[branch, spot + timedelta(days=i)] for i in range(3))
                lifted = {s + timedelta(days=i) for b, s in spots if b == branch and s != spot for i in range(3)}
                usual = [
                    (w, counts[branch, d])
                    for w, i in product(range(1, 5), range(3))
                    if (d := spot + timedelta(days=i - 7 * w)) not in lifted and (branch, d) in delivered
                ]
                if len({w for w, _ in usual}) >= 2:
                    row["baseline"] = ratio(3 * sum(n for _, n in usual), len(usual))
                    row["lift"] = row["observed"] / row["baseline"] if row["baseline"] else None
            mart[branch, spot] = {"branch_id": branch, "spot_date": spot, **row}
        return mart

    def kpi_retention(self) -> Mart:
        mart: Mart = {}
        for p, n in product(self.acquired, (1, 3, 6, 12)):
            assert p.activated_on
            month = p.activated_on.replace(day=1)
            if plus_months(last_of_month(month), n) > self.as_of:
                continue
            key = (month, p.credit["branch_id"], p.credit["channel_code"], n)
            names = ("cohort_month", "branch_id", "channel_code", "month_n")
            row = mart.setdefault(key, {**dict(zip(names, key, strict=True)), "cohort_size": 0, "covered": 0})
            row["cohort_size"] += 1
            row["covered"] += p.covered(plus_months(p.activated_on, n))
        return mart

    def kpi_target_monthly(self) -> Mart:
        mart: Mart = {}
        offices = {row["branch_id"]: row["kanwil_id"] for row in seed("branches")}
        fractions: dict[tuple[str, date], tuple[str | None, date, Fraction]] = {}
        for (branch, month), target in self.targets.items():
            if not self.first.replace(day=1) <= month <= self.as_of:
                continue
            until = min(last_of_month(month), self.as_of)
            new = self._attained(branch, until)
            active = sum(n for (s, b, _, d), n in self.stock.items() if (s, b, d) == ("aktif", branch, until))
            paid = sum(
                p["total_amount"] for p in self.payments if p["branch_id"] == branch and month <= p["day"] <= until
            )
            length = last_of_month(month).day
            if target["target_new"]:
                fractions[branch, month] = (offices.get(branch), month, Fraction(new, target["target_new"]))
            mart[branch, month] = {
                "branch_id": branch,
                "month": month,
                **{name: target[name] for name in ("target_new", "target_active", "target_idr")},
                "realisation_new": new,
                "realisation_active": active,
                "realisation_idr": paid,
                "attainment_new": ratio(new, target["target_new"]),
                "attainment_active": ratio(active, target["target_active"]),
                "attainment_idr": ratio(paid, target["target_idr"]),
                "projection_new": ratio(new * length, until.day),
                "projection_active": float(active),
                "projection_idr": ratio(paid * length, until.day),
                "rank": None,
            }
        for key, (office, month, own) in fractions.items():
            better = sum((o, m) == (office, month) and f > own for o, m, f in fractions.values())
            mart[key]["rank"] = None if office is None else better + 1
        return mart

    def kpi_coverage_province(self) -> Mart:
        mart: Mart = {}
        before = {row["province_code"]: row["province_code_2021"] for row in seed("province_history")}
        today = {row["branch_id"]: row["province_code"] for row in seed("branches")}
        province = {branch: before.get(code, code) for branch, code in today.items()}
        workers = {
            (r["province_code"], int(r["year"])): int(r["informal_workers_est"])
            for r in seed("informal_workers_by_province")
        }
        for code, day in product({code for code, _ in workers}, self.days):
            if day != last_of_month(day):
                continue
            active = sum(
                n for (s, b, _, d), n in self.stock.items() if s == "aktif" and province.get(b) == code and d == day
            )
            year = 2023 if day.year >= 2023 else 2022
            mart[code, day] = {
                "province_code": code,
                "month_end": day,
                "aktif": active,
                "informal_workers": workers[code, year],
                "informal_workers_year": year,
                "informal_workers_source": "BPS Sakernas, Agustus",
                "coverage_pct": ratio(100 * active, workers[code, year]),
                "attribution_rule": "registering_office",
            }
        return mart

    def kpi_occupation_monthly(self) -> Mart:
        mart: Mart = {}

        def at(branch: str, occupation: str, month: date) -> dict[str, Any]:
            names = ("branch_id", "occupation_code", "month")
            key = (branch, occupation, month)
            counts = {"registrations": 0, "acquisitions": 0, "aktif": 0}
            return mart.setdefault(key, {**dict(zip(names, key, strict=True)), **counts})

        for month in sorted({d.replace(day=1) for d in self.days}):
            until = min(last_of_month(month), self.as_of)
            for r in self.registrations:
                if month <= r["day"] <= until:
                    at(r["branch_id"], known_occupation(r), month)["registrations"] += 1
            for p in self.acquired:
                if month <= p.activated_on <= until:  # type: ignore[operator]
                    at(p.credit["branch_id"], p.credit["occupation"], month)["acquisitions"] += 1
            for (status, branch, occupation, day), n in self.stock.items():
                if status == "aktif" and day == until:
                    at(branch, occupation, month)["aktif"] += n
        return mart
