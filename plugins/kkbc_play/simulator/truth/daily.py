"""kpi_branch_daily, kpi_national_daily and kpi_channel_daily, computed one participant at a time."""

from collections import Counter, defaultdict
from datetime import date, timedelta
from typing import Any

from kkbc_play.simulator.calendar import month_of
from kkbc_play.simulator.truth.nation import Nation
from kkbc_play.simulator.truth.participants import STATUSES, UNKNOWN

Entry = dict[str, Any]
_ADDITIVE = ("registrations", "acquisitions", "reactivations", *STATUSES, "contributions_idr")
_OF_BRANCHES = ("activities", "contacts", "activity_cost_idr", "repeat_registrations", "quarantined", "slices_late")
_THIRTY = timedelta(days=30)


class Daily:
    """Counts by (measure, branch, day), from which the marts are read off."""

    def __init__(self, nation: Nation) -> None:
        self.nation = nation
        self.counts: dict[str, Counter[tuple[str, date]]] = defaultdict(Counter)
        self._events()
        self._stocks()
        self._thirty_days()
        self._deliveries()

    def branches(self) -> list[Entry]:
        """kpi_branch_daily."""
        attained = self._month_to_date()
        return [
            self._branch(branch_id, day, attained) for day in self.nation.days for branch_id in self.nation.branches
        ]

    def national(self) -> list[Entry]:
        """kpi_national_daily: sums over branches; rates from sums."""
        attained = self._month_to_date()
        entries = []
        for day in self.nation.days:
            ids = self.nation.branches
            targets = {b: t.new for b in ids if (t := self.nation.targets.get((b, month_of(day))))}
            sums = {
                name: sum(self.counts[name][b, day] for b in ids)
                for name in ("reported", *_ADDITIVE, "due_30d", "activated_30d")
            }
            entries.append(
                {
                    "business_date": day.isoformat(),
                    "branches_expected": len(ids),
                    "branches_reported": sums["reported"],
                    **{name: sums[name] for name in _ADDITIVE},
                    "activation_rate_30d": ratio(sums["activated_30d"], sums["due_30d"]),
                    "attainment_mtd": ratio(sum(attained[b, day] for b in targets), sum(targets.values())),
                }
            )
        return entries

    def _branch(self, branch_id: str, day: date, attained: Counter[tuple[str, date]]) -> Entry:
        at = (branch_id, day)
        target = self.nation.targets.get((branch_id, month_of(day)))
        return {
            "branch_id": branch_id,
            "business_date": day.isoformat(),
            "branches_expected": 1,
            "branches_reported": self.counts["reported"][at],
            **{name: self.counts[name][at] for name in _ADDITIVE},
            "activation_rate_30d": ratio(self.counts["activated_30d"][at], self.counts["due_30d"][at]),
            "attainment_mtd": ratio(attained[at], target.new) if target else None,
            **{name: self.counts[name][at] for name in _OF_BRANCHES},
        }

    def _events(self) -> None:
        for registration in self.nation.registrations:
            self.counts["registrations"][registration.branch_id, registration.day] += 1
        for payment in self.nation.payments:
            self.counts["contributions_idr"][payment.branch_id, payment.day] += payment.total
        for activity in self.nation.activities:
            at = (activity.branch_id, activity.day)
            self.counts["activities"][at] += 1
            self.counts["contacts"][at] += activity.contacts
            self.counts["activity_cost_idr"][at] += activity.cost or 0
        for person in self.nation.participants:
            for registration in person.by_time:
                if registration.at > person.by_time[0].at:
                    self.counts["repeat_registrations"][registration.branch_id, registration.day] += 1
            if person.activated_on is not None and person.activated_on <= self.nation.as_of:
                self.counts["acquisitions"][person.credited_branch, person.activated_on] += 1
            for day in person.reactivations:
                if day <= self.nation.as_of:
                    self.counts["reactivations"][person.branch_on(day), day] += 1

    def _stocks(self) -> None:
        """Each participant adds 1 from a turning day to the next; running sums give the stock of every day."""
        first, last = self.nation.days[0], self.nation.as_of
        change: dict[str, Counter[tuple[str, date]]] = {status: Counter() for status in STATUSES}
        for person in self.nation.participants:
            turns = sorted({first, *(day for day in person.turning_days() if first < day <= last)})
            for position, day in enumerate(turns):
                status = person.status_on(day)
                if status is None:
                    continue
                branch_id = person.branch_on(day)
                change[status][branch_id, day] += 1
                if position + 1 < len(turns):
                    change[status][branch_id, turns[position + 1]] -= 1
        for status in STATUSES:
            for branch_id in self.nation.branches:
                stock = 0
                for day in self.nation.days:
                    stock += change[status][branch_id, day]
                    self.counts[status][branch_id, day] = stock

    def _thirty_days(self) -> None:
        """Registrations from the first business date on: earlier ones do not count in daily figures (KPI rule 2)."""
        for person in self.nation.participants:
            first = person.first_registration
            if first is None or first.day < self.nation.first:
                continue
            due = first.day + _THIRTY
            self.counts["due_30d"][first.branch_id, due] += 1
            if person.activated_on is not None and person.activated_on <= due:
                self.counts["activated_30d"][first.branch_id, due] += 1

    def _deliveries(self) -> None:
        for (feed, branch_id, day), record in self.nation.slices.items():
            if feed != "target":
                self.counts["reported"][branch_id, day] = 1
                self.counts["quarantined"][branch_id, day] += record.rows_quarantined
        for entry in self.nation.slice_entries:
            if entry["status"] == "late":
                self.counts["slices_late"][entry["branch_id"], date.fromisoformat(entry["business_date"])] += 1

    def _month_to_date(self) -> Counter[tuple[str, date]]:
        """Acquisitions from the first of the month, before the first business date too."""
        first = self.nation.days[0].replace(day=1)
        reached: Counter[tuple[str, date]] = Counter()
        for branch_id in self.nation.branches:
            running, day = 0, first
            while day <= self.nation.as_of:
                running = (0 if day.day == 1 else running) + self.counts["acquisitions"][branch_id, day]
                reached[branch_id, day] = running
                day += timedelta(days=1)
        return reached


def channels(nation: Nation) -> list[Entry]:
    """kpi_channel_daily: days on which any measure is not 0."""
    names = (
        "registrations",
        "acquisitions",
        "activation_days_sum",
        "activation_days_count",
        "activated_30d",
        "registrations_30d_due",
    )
    cells: dict[tuple[str, str, date], Counter[str]] = defaultdict(Counter)
    for registration in nation.registrations:
        cells[registration.branch_id, registration.channel, registration.day]["registrations"] += 1
    for person in nation.participants:
        activated, first, credited = person.activated_on, person.first_registration, person.credited
        if activated is not None and activated <= nation.as_of:
            cell = cells[person.credited_branch, credited.channel if credited else UNKNOWN, activated]
            cell["acquisitions"] += 1
            if credited and credited.day <= activated:
                cell["activation_days_sum"] += (activated - credited.day).days
                cell["activation_days_count"] += 1
        if first and first.day >= nation.first:
            cell = cells[first.branch_id, first.channel, first.day + _THIRTY]
            cell["registrations_30d_due"] += 1
            cell["activated_30d"] += activated is not None and activated <= first.day + _THIRTY
    return [
        {
            "branch_id": b,
            "channel_code": channel,
            "business_date": day.isoformat(),
            **{name: cell[name] for name in names},
        }
        for (b, channel, day), cell in sorted(cells.items(), key=lambda item: (item[0][2], item[0][0], item[0][1]))
        if nation.days[0] <= day <= nation.as_of and any(cell.values())
    ]


def ratio(part: int, whole: int) -> float | None:
    """`part` / `whole`, None when there is nothing to divide by."""
    return part / whole if whole else None
