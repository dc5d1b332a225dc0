"""Work in the field: people met who register and pay, what activities cost, what radio lifts."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from kkbc.reporting.figures.view import View

# The type of activity whose contacts are estimated listeners.
RADIO = "RADIO"


@dataclass(frozen=True)
class Funnel:
    """Activities other than radio, of the last 90 days: people met, registrations that name the activity, first
    payments credited to it. listeners: of the radio spots of these days, an estimate and nobody met.
    """

    contacts: int
    registrations: int
    acquisitions: int
    listeners: int


@dataclass(frozen=True)
class Activities:
    """Activities of one type, or of all. cost: of those whose cost is known; cost_per_acquisition goes by these."""

    type: str
    activities: int
    contacts: int
    registrations: int
    acquisitions: int
    cost: int | None
    cost_per_acquisition: float | None


@dataclass(frozen=True)
class Spot:
    """A day with a radio spot. observed: registrations of it and the two days after; lift: against a usual time."""

    day: date
    observed: int
    baseline: float
    lift: float


def funnel(view: View) -> Funnel:
    """From people met to registrations to first payments, all three of the same activities (KPI rule 15)."""
    frame = view.frame("activities")
    met = _summed("", frame.filter(pl.col("type") != RADIO))
    heard = frame.filter(pl.col("type") == RADIO)
    return Funnel(met.contacts, met.registrations, met.acquisitions, int(heard["contacts"].sum() or 0))


def by_type(view: View) -> list[Activities]:
    """Activities of the last 90 days by type, the most frequent first."""
    frame = view.frame("activities")
    found = [_summed(str(kind), rows) for (kind,), rows in frame.group_by("type")]
    return sorted(found, key=lambda row: (-row.activities, row.type))


def all_activities(view: View) -> Activities:
    """All activities of the last 90 days together."""
    return _summed("", view.frame("activities"))


def latest_activities(view: View, limit: int = 10) -> list[dict[str, Any]]:
    """The latest activities, one a row."""
    frame = view.frame("activities").sort("started_on", "activity_code", descending=[True, False])
    return frame.head(limit).to_dicts()


def spots(view: View) -> list[Spot]:
    """Spot days of the last 180 days that have a lift, in their order."""
    frame = view.frame("radio").filter(pl.col("lift").is_not_null()).sort("spot_date")
    return [Spot(*row) for row in frame.select("spot_date", "observed", "baseline", "lift").iter_rows()]


def lift(view: View) -> float | None:
    """The lift of all spot days of a view together: registrations observed over those of a usual time."""
    known = view.frame("radio").filter(pl.col("lift").is_not_null())
    usual = float(known["baseline"].sum())
    return float(known["observed"].sum()) / usual if usual else None


def _summed(kind: str, rows: pl.DataFrame) -> Activities:
    costed = rows.filter(pl.col("cost").is_not_null())
    cost, paid = int(costed["cost"].sum()), int(costed["acquisitions"].sum())
    contacts, came, acquired = (int(rows[name].sum() or 0) for name in ("contacts", "registrations", "acquisitions"))
    known = (cost, cost / paid if paid else None) if len(costed) else (None, None)
    return Activities(kind, len(rows), contacts, came, acquired, *known)
