"""A participant's history: merged coverage, status, the branch that counts it, what its acquisition is credited to."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from itertools import pairwise

from kkbc_play.simulator.calendar import add_months
from kkbc_play.simulator.truth.facts import Payment, Registration

UNKNOWN = "TIDAK_DIKETAHUI"
STATUSES = ("aktif", "menunggak", "non_aktif", "belum_aktif")
_GRACE_MONTHS = 3


@dataclass
class Participant:
    """One NIK with its registrations and payments in force."""

    registrations: list[Registration] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)

    @cached_property
    def by_time(self) -> list[Registration]:
        """Registrations from the first to the latest; of equal instants the greatest number, then branch, is later."""
        return sorted(self.registrations, key=lambda r: (r.at, r.key, r.branch_id))

    @cached_property
    def _days(self) -> list[date]:
        return [registration.day for registration in self.by_time]

    @cached_property
    def intervals(self) -> list[tuple[date, date]]:
        """Merged coverage, [start, end): overlapping and touching intervals are one."""
        merged: list[tuple[date, date]] = []
        for start, end in sorted((p.start, add_months(p.start, p.months)) for p in self.payments):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], end))
            else:
                merged.append((start, end))
        return merged

    @property
    def activated_on(self) -> date | None:
        """The first coverage start ever."""
        return self.intervals[0][0] if self.intervals else None

    @property
    def first_registration(self) -> Registration | None:
        """The earliest by registered_at."""
        return self.by_time[0] if self.by_time else None

    @property
    def first_payment(self) -> Payment:
        """The earliest by paid_at, then branch, then payment number."""
        return min(self.payments, key=lambda p: (p.at, p.branch_id, p.key))

    @cached_property
    def credited(self) -> Registration | None:
        """The latest registration up to `activated_on`, else the earliest after; None without any (KPI rule 7)."""
        activated = self.activated_on
        if activated is None or not self.by_time:
            return None
        before = self.latest_registration(activated)
        if before:
            return before
        earliest = self.by_time[0].at
        return max((r for r in self.by_time if r.at == earliest), key=lambda r: (r.key, r.branch_id))

    @cached_property
    def credited_branch(self) -> str:
        """The branch of the credited registration, else that of the payment which starts on `activated_on`."""
        if self.credited:
            return self.credited.branch_id
        first = [p for p in self.payments if p.start == self.activated_on]
        return min(first, key=lambda p: (p.at, p.branch_id, p.key)).branch_id

    @cached_property
    def reactivations(self) -> list[date]:
        """Starts of merged intervals that follow the end of the one before by three months or more."""
        return [start for (_, end), (start, _) in pairwise(self.intervals) if start >= add_months(end, _GRACE_MONTHS)]

    def latest_registration(self, day: date) -> Registration | None:
        """The latest registration up to the end of `day`."""
        position = bisect_right(self._days, day)
        return self.by_time[position - 1] if position else None

    def branch_on(self, day: date) -> str:
        """The branch for which the status counts on `day`."""
        registration = self.latest_registration(day)
        return registration.branch_id if registration else self.first_payment.branch_id

    def status_on(self, day: date) -> str | None:
        """One of STATUSES, or None while there is neither a registration nor a coverage start."""
        position = bisect_right(self.intervals, (day, date.max))
        if not position:
            return "belum_aktif" if self._days and self._days[0] <= day else None
        end = self.intervals[position - 1][1]
        if day < end:
            return "aktif"
        return "menunggak" if day < add_months(end, _GRACE_MONTHS) else "non_aktif"

    def covered_on(self, day: date) -> bool:
        """Whether an interval holds `day`."""
        return self.status_on(day) == "aktif"

    def turning_days(self) -> set[date]:
        """Every day on which status or branch may change."""
        days = set(self._days)
        for start, end in self.intervals:
            days |= {start, end, add_months(end, _GRACE_MONTHS)}
        return days


def participants_of(registrations: Iterable[Registration], payments: Iterable[Payment]) -> list[Participant]:
    """Gather rows in force by NIK."""
    people: dict[str, Participant] = {}
    for registration in registrations:
        people.setdefault(registration.nik, Participant()).registrations.append(registration)
    for payment in payments:
        people.setdefault(payment.nik, Participant()).payments.append(payment)
    return list(people.values())
