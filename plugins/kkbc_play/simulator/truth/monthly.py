"""The marts by month: retention, targets, coverage by province, occupations (KPI rules 12, 14, 16, 17)."""

from collections import Counter, defaultdict
from datetime import date
from fractions import Fraction

from kkbc_play.simulator.calendar import add_months, month_end, month_of
from kkbc_play.simulator.truth.daily import ratio
from kkbc_play.simulator.truth.nation import Nation
from kkbc_play.simulator.truth.participants import UNKNOWN
from kkbc_play.simulator.truth.slices import Entry

_COHORT_AGES = (1, 3, 6, 12)
_FIRST_INFORMAL_YEAR = 2022


def retention(nation: Nation) -> list[Entry]:
    """Cohorts of the month of acquisition by credited branch and channel, once a whole cohort has reached the age."""
    cohorts: dict[tuple[date, str, str, int], Counter[str]] = defaultdict(Counter)
    for person in nation.participants:
        activated, credited = person.activated_on, person.credited
        if activated is None or activated > nation.as_of:
            continue
        for age in _COHORT_AGES:
            if add_months(month_end(activated), age) <= nation.as_of:
                channel = credited.channel if credited else UNKNOWN
                cohort = cohorts[activated.replace(day=1), person.credited_branch, channel, age]
                cohort["size"] += 1
                cohort["covered"] += person.covered_on(add_months(activated, age))
    return [
        {
            "cohort_month": month.isoformat(),
            "branch_id": branch_id,
            "channel_code": channel,
            "month_n": age,
            "cohort_size": cohort["size"],
            "covered": cohort["covered"],
        }
        for (month, branch_id, channel, age), cohort in sorted(cohorts.items())
    ]


def targets(nation: Nation) -> list[Entry]:
    """A row for each target in force whose month has begun, from the month of the first business date on."""
    acquired: Counter[tuple[str, str]] = Counter()
    for person in nation.participants:
        if person.activated_on is not None and person.activated_on <= nation.as_of:
            acquired[person.credited_branch, month_of(person.activated_on)] += 1
    paid: Counter[tuple[str, str]] = Counter()
    for payment in nation.payments:
        paid[payment.branch_id, month_of(payment.day)] += payment.total
    stock = {month_of(day): _covered_by_branch(nation, min(month_end(day), nation.as_of)) for day in _months(nation)}
    entries = []
    for (branch_id, month), target in sorted(nation.targets.items()):
        if month not in stock:
            continue
        first = date.fromisoformat(f"{month}-01")
        days = month_end(first).day
        elapsed = nation.as_of.day if nation.as_of <= month_end(first) else days
        new, active, idr = acquired[branch_id, month], stock[month][branch_id], paid[branch_id, month]
        entries.append(
            {
                "branch_id": branch_id,
                "month": first.isoformat(),
                "target_new": target.new,
                "target_active": target.active,
                "target_idr": target.idr,
                "realisation_new": new,
                "realisation_active": active,
                "realisation_idr": idr,
                "attainment_new": ratio(new, target.new),
                "attainment_active": ratio(active, target.active),
                "attainment_idr": ratio(idr, target.idr),
                "projection_new": float(Fraction(new * days, elapsed)),
                "projection_active": float(active),
                "projection_idr": float(Fraction(idr * days, elapsed)),
                "rank": None,
            }
        )
    _rank(nation, entries)
    return entries


def coverage_by_province(nation: Nation) -> list[Entry]:
    """A row for each of the 34 provinces of before the 2022 split at every month end in the range of days."""
    entries = []
    for day in (month_end(month) for month in _months(nation)):
        if day > nation.as_of:
            continue
        aktif: Counter[str] = Counter()
        for branch_id, count in _covered_by_branch(nation, day).items():
            aktif[nation.reference.branches[branch_id].old_province] += count
        years = [year for _, year in nation.reference.informal_workers if year <= day.year]
        year = max(years, default=_FIRST_INFORMAL_YEAR)
        for province in nation.reference.old_provinces:
            informal = nation.reference.informal_workers[province, year]
            entries.append(
                {
                    "province_code": province,
                    "month_end": day.isoformat(),
                    "aktif": aktif[province],
                    "informal_workers": informal,
                    "informal_workers_year": year,
                    "coverage_pct": 100 * aktif[province] / informal,
                    "attribution_rule": "registering_office",
                }
            )
    return entries


def occupations(nation: Nation) -> list[Entry]:
    """Branch, occupation and month wherever a measure is not 0, from the month of the first business date on."""
    known = set(nation.reference.occupations)
    cells: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    months = {month_of(day): min(month_end(day), nation.as_of) for day in _months(nation)}

    def occupation(code: str | None) -> str:
        return code if code is not None and code in known else UNKNOWN

    for registration in nation.registrations:
        cells[registration.branch_id, occupation(registration.occupation), month_of(registration.day)][
            "registrations"
        ] += 1
    for person in nation.participants:
        activated, credited = person.activated_on, person.credited
        if activated is not None and activated <= nation.as_of:
            code = occupation(credited.occupation if credited else None)
            cells[person.credited_branch, code, month_of(activated)]["acquisitions"] += 1
        for month, day in months.items():
            if person.covered_on(day):
                latest = person.latest_registration(day)
                code = occupation(latest.occupation if latest else None)
                cells[person.branch_on(day), code, month]["aktif"] += 1
    return [
        {
            "branch_id": branch_id,
            "occupation_code": code,
            "month": f"{month}-01",
            **{name: cell[name] for name in ("registrations", "acquisitions", "aktif")},
        }
        for (branch_id, code, month), cell in sorted(cells.items())
        if month in months and any(cell.values())
    ]


def _months(nation: Nation) -> list[date]:
    """First days of the months from that of the first business date to that of as_of."""
    month, months = nation.first.replace(day=1), []
    while month <= nation.as_of:
        months.append(month)
        month = add_months(month, 1)
    return months


def _covered_by_branch(nation: Nation, day: date) -> Counter[str]:
    return Counter(person.branch_on(day) for person in nation.participants if person.covered_on(day))


def _rank(nation: Nation, entries: list[Entry]) -> None:
    """Rank attainment of new participants within regional office and month, 1-1-3, over exact fractions."""
    attained: dict[tuple[str, str], list[Fraction]] = defaultdict(list)
    for entry in entries:
        if entry["target_new"]:
            group = (nation.reference.branches[entry["branch_id"]].kanwil_id, entry["month"])
            attained[group].append(Fraction(entry["realisation_new"], entry["target_new"]))
    for entry in entries:
        if entry["target_new"]:
            group = (nation.reference.branches[entry["branch_id"]].kanwil_id, entry["month"])
            own = Fraction(entry["realisation_new"], entry["target_new"])
            entry["rank"] = 1 + sum(other > own for other in attained[group])
