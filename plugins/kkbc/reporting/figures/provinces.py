"""Provinces: participants covered, as a share of informal workers once a month end is published."""

from dataclasses import dataclass
from datetime import date

import polars as pl

from kkbc.reporting.figures.view import View

# The provinces that were split off in 2022, and those that survey and mart count them in (KPI rule 16).
PARENTS = {"93": "91", "94": "91", "95": "91", "96": "92"}


@dataclass(frozen=True)
class Provinces:
    """Values by code of the 34 provinces of before the split.

    coverage: percent of informal workers; empty before the first month end. year, source: of their number.
    """

    day: date
    aktif: dict[str, int]
    coverage: dict[str, float]
    year: int | None = None
    source: str | None = None


def provinces(view: View) -> Provinces:
    """The latest month end; before the first one participants on as_of, counted by the same rule."""
    frame = view.frame("provinces")
    if len(frame):
        known = frame.filter(pl.col("coverage_pct").is_not_null())
        return Provinces(
            frame["month_end"][0],
            dict(frame.select("province_code", "aktif").iter_rows()),
            dict(known.select("province_code", "coverage_pct").iter_rows()),
            known["informal_workers_year"].max() if len(known) else None,  # type: ignore[arg-type]
            known["informal_workers_source"][0] if len(known) else None,
        )
    places = view.frame("branches").select("branch_id", pl.col("province_code_2021").alias("code"))
    today = view.frame("daily").filter(pl.col("business_date") == view.as_of).join(places, on="branch_id")
    counted = today.drop_nulls("code").group_by("code").agg(pl.col("aktif").sum())
    return Provinces(view.as_of, dict(counted.iter_rows()), {})
