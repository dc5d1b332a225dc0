"""Retention: of those who first paid in a month, the share still covered 1, 3, 6 and 12 months on."""

from dataclasses import dataclass
from datetime import date

import polars as pl

from kkbc.reporting.figures.view import View

MONTHS = (1, 3, 6, 12)


@dataclass(frozen=True)
class Cohort:
    """Participants whose first coverage began in a month; covered: by months since, where those are over."""

    month: date
    size: int
    covered: dict[int, int]


def cohorts(view: View, limit: int = 13) -> list[Cohort]:
    """The latest cohorts in their order, all channels together."""
    found: dict[date, Cohort] = {}
    summed = view.frame("retention").group_by("cohort_month", "month_n").agg(pl.col("cohort_size", "covered").sum())
    for month, month_n, size, covered in summed.sort("cohort_month", "month_n").iter_rows():
        found.setdefault(month, Cohort(month, size, {})).covered[month_n] = covered
    return list(found.values())[-limit:]


def kept(view: View, month_n: int) -> float | None:
    """The share still covered after so many months, over all cohorts that are old enough."""
    rows = view.frame("retention").filter(pl.col("month_n") == month_n)
    size = int(rows["cohort_size"].sum())
    return int(rows["covered"].sum()) / size if size else None
