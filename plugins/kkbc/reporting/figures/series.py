"""What is shown along days: protected participants, the month as it fills, channels, branches that reported."""

from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from kkbc.reporting.figures.view import View, last_day, months_before
from kkbc.reporting.tables import WINDOWS


@dataclass(frozen=True)
class Progress:
    """Acquisitions of the month, added up day by day, and of the month before; by day of the month.

    target, projection: at the end of the month; None without a target.
    """

    now: list[tuple[int, int]]
    before: list[tuple[int, int]]
    days_in_month: int
    target: int | None
    projection: float | None


@dataclass(frozen=True)
class Channel:
    """Registrations of one channel: by day, in the last 28 days and in the 28 before (None: not all are there)."""

    code: str
    name: str
    days: list[tuple[date, int]]
    latest: int
    before: int | None


def protected(view: View) -> list[tuple[date, int]]:
    """Participants covered, by day."""
    return list(view.days().select("business_date", "aktif").iter_rows())


def progress(view: View) -> Progress:
    """How the acquisitions of the month add up.

    The target is that of the branches that have one, and so is the projection; the line holds all branches.
    """
    days, as_of = view.days(), view.as_of
    targets = view.frame("targets").filter(pl.col("target_new").is_not_null())
    before = months_before(view.month, 1)
    return Progress(
        now=_cumulated(days, view.month, as_of),
        before=_cumulated(days, before, last_day(before)),
        days_in_month=last_day(as_of).day,
        target=int(targets["target_new"].sum()) if len(targets) else None,
        projection=float(targets["projection_new"].sum()) if len(targets) else None,
    )


def channels(view: View) -> list[Channel]:
    """Registrations by channel, the largest first."""
    as_of, frame = view.as_of, view.frame("channels")
    names = dict(view.frame("channel_names").iter_rows())
    first = max(as_of - timedelta(days=WINDOWS["channel_days"] - 1), _first_day(view))
    calendar = [first + timedelta(days=n) for n in range((as_of - first).days + 1)]
    split = as_of - timedelta(days=28)
    found = []
    for (code,), rows in frame.group_by("channel_code"):
        by_day: dict[date, int] = dict(rows.group_by("business_date").agg(pl.col("registrations").sum()).iter_rows())
        if not any(by_day.values()):
            continue
        whole = len(calendar) == WINDOWS["channel_days"]
        latest = sum(amount for day, amount in by_day.items() if day > split)
        before = sum(amount for day, amount in by_day.items() if day <= split)
        points = [(day, by_day.get(day, 0)) for day in calendar]
        found.append(Channel(str(code), names.get(str(code), str(code)), points, latest, before if whole else None))
    return sorted(found, key=lambda channel: (-channel.latest, channel.code))


def reporting(view: View) -> list[tuple[date, int, int]]:
    """Branches expected and reported by day, of the last 28 days."""
    first = view.as_of - timedelta(days=WINDOWS["quality_days"] - 1)
    days = view.days().filter(pl.col("business_date") >= first)
    return list(days.select("business_date", "branches_expected", "branches_reported").iter_rows())


def _cumulated(days: pl.DataFrame, first: date, last: date) -> list[tuple[int, int]]:
    there = days.filter(pl.col("business_date").is_between(first, last))
    summed = there.select(pl.col("business_date").dt.day().cast(pl.Int64), pl.col("acquisitions").cum_sum())
    return list(summed.iter_rows())


def _first_day(view: View) -> date:
    """The first day that the marts have, as far as they were read."""
    first = view.frame("national")["business_date"].min()
    return first if isinstance(first, date) else view.as_of
