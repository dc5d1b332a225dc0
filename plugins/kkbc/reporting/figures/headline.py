"""The figures at the head of a report: how many are protected, how the month goes, and what it aims at."""

from dataclasses import dataclass
from datetime import date

import polars as pl

from kkbc.reporting.figures.view import View, last_day, months_before

STATES = ("aktif", "menunggak", "non_aktif", "belum_aktif")
FLOWS = ("registrations", "acquisitions", "contributions_idr")


@dataclass(frozen=True)
class Target:
    """A target of the month over the branches that have one. Ratios are of the target; None without a target."""

    target: int | None
    realisation: float
    projection: float

    @property
    def attainment(self) -> float | None:
        """Share of the target that is reached."""
        return self.realisation / self.target if self.target else None

    @property
    def projected(self) -> float | None:
        """Share of the target that the projection reaches."""
        return self.projection / self.target if self.target else None


@dataclass(frozen=True)
class Headline:
    """today, last_month, last_year: participants by status, None for a day that the marts do not have.

    month, month_before: sums of the month to date, and of the same days of the month before (None: not all are there).
    since: the first day of the month that the marts have; targets count from the month's own first day (KPI rule 11).
    expected, reported: branches on as_of. elapsed: share of the month that is over.
    """

    today: dict[str, int] | None
    last_month: dict[str, int] | None
    last_year: dict[str, int] | None
    month: dict[str, int]
    month_before: dict[str, int] | None
    since: date
    expected: int
    reported: int
    elapsed: float
    new: Target
    active: Target
    idr: Target


def headline(view: View) -> Headline:
    """The head figures of a view."""
    days = view.days()
    as_of = view.as_of
    reported = days.filter(pl.col("business_date") == as_of)
    first = days.filter(pl.col("business_date") >= view.month)["business_date"].min()
    return Headline(
        today=_status(days, as_of),
        last_month=_status(days, months_before(as_of, 1)),
        last_year=_status(days, months_before(as_of, 12)),
        month=_sums(days, view.month, as_of) or dict.fromkeys(FLOWS, 0),
        month_before=_whole_sums(days, months_before(view.month, 1), months_before(as_of, 1)),
        since=first if isinstance(first, date) else view.month,
        expected=int(reported["branches_expected"].sum()),
        reported=int(reported["branches_reported"].sum()),
        elapsed=as_of.day / last_day(as_of).day,
        **{name: target(view, name) for name in ("new", "active", "idr")},
    )


def target(view: View, name: str) -> Target:
    """One of the targets new, active and idr: branches without it are left out of all sums (KPI rule 11)."""
    known = view.frame("targets").filter(pl.col(f"target_{name}").is_not_null())
    return Target(
        int(known[f"target_{name}"].sum()) if len(known) else None,
        float(known[f"realisation_{name}"].sum()),
        float(known[f"projection_{name}"].sum()),
    )


def _status(days: pl.DataFrame, day: date) -> dict[str, int] | None:
    row = days.filter(pl.col("business_date") == day).select(STATES).to_dicts()
    return row[0] if row else None


def _sums(days: pl.DataFrame, first: date, last: date) -> dict[str, int] | None:
    found = days.filter(pl.col("business_date").is_between(first, last)).select(FLOWS)
    return found.sum().row(0, named=True) if len(found) else None


def _whole_sums(days: pl.DataFrame, first: date, last: date) -> dict[str, int] | None:
    """The sums when every day of the span is there: half a month would compare badly."""
    there = days.filter(pl.col("business_date").is_between(first, last))
    return _sums(days, first, last) if len(there) == (last - first).days + 1 else None
