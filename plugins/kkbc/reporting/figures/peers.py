"""Branches and offices beside each other: one row of figures each, and who leads."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from kkbc.reporting.figures import field, quality, retention
from kkbc.reporting.figures.headline import STATES, headline
from kkbc.reporting.figures.view import View, months_before


@dataclass(frozen=True)
class Standing:
    """A branch, an office or the nation in figures that can be compared whatever its size."""

    attainment: float | None
    projected: float | None
    growth: float | None
    activation: float | None
    conversion: float | None
    cost_per_acquisition: float | None
    lift: float | None
    kept_1: float | None
    valid_nik: float | None
    contactable: float | None
    quarantined: float | None
    on_time: float | None


@dataclass(frozen=True)
class Branch:
    """A branch beside others. rank: within its regional office, by attainment."""

    branch_id: str
    name: str
    kanwil_id: str | None
    aktif: int
    growth: float | None
    registrations: int
    acquisitions: int
    target: int | None
    attainment: float | None
    projected: float | None
    rank: int | None
    reported: bool


def standing(view: View) -> Standing:
    """The figures of a view that can be compared."""
    head, rates, way = headline(view), quality.rates(view), field.funnel(view)
    due = view.frame("channels").filter(pl.col("business_date") >= view.month)
    today, before = head.today, head.last_month
    return Standing(
        attainment=head.new.attainment,
        projected=head.new.projected,
        growth=today["aktif"] / before["aktif"] - 1 if today and before and before["aktif"] else None,
        activation=_ratio(due["activated_30d"].sum(), due["registrations_30d_due"].sum()),
        conversion=_ratio(way.registrations, way.contacts),
        cost_per_acquisition=field.all_activities(view).cost_per_acquisition,
        lift=field.lift(view),
        kept_1=retention.kept(view, 1),
        valid_nik=rates.valid_nik,
        contactable=rates.contactable,
        quarantined=rates.quarantined,
        on_time=rates.on_time,
    )


def branches(view: View) -> list[Branch]:
    """The branches of a view, one row each; those without figures too."""
    daily, as_of = view.frame("daily"), view.as_of
    month = (
        daily.filter(pl.col("business_date") >= view.month)
        .group_by("branch_id")
        .agg(pl.col("registrations", "acquisitions").sum())
    )
    today = daily.filter(pl.col("business_date") == as_of).select("branch_id", *STATES, "branches_reported")
    before = daily.filter(pl.col("business_date") == months_before(as_of, 1)).select(
        "branch_id", pl.col("aktif").alias("aktif_before")
    )
    targets = view.frame("targets").select("branch_id", "target_new", "attainment_new", "projection_new", "rank")
    rows = view.frame("branches").sort("branch_id")
    for other in (month, today, before, targets):
        rows = rows.join(other, on="branch_id", how="left")
    return [_branch(row) for row in rows.sort("branch_id").to_dicts()]


def leaders(found: list[Branch], count: int = 5) -> tuple[list[Branch], list[Branch]]:
    """The best and the worst by attainment of new participants, no branch in both; without a target none."""
    ranked = sorted(
        (branch for branch in found if branch.attainment is not None),
        key=lambda branch: (-(branch.attainment or 0), branch.branch_id),
    )
    best = ranked[: min(count, (len(ranked) + 1) // 2)]
    return best, ranked[len(best) :][-count:]


def _branch(row: dict[str, Any]) -> Branch:
    aktif, before = int(row["aktif"] or 0), row["aktif_before"]
    target, projection = row["target_new"], row["projection_new"]
    return Branch(
        branch_id=str(row["branch_id"]),
        name=str(row["branch_name"]),
        kanwil_id=row["kanwil_id"],
        aktif=aktif,
        growth=aktif / before - 1 if before else None,
        registrations=int(row["registrations"] or 0),
        acquisitions=int(row["acquisitions"] or 0),
        target=target,
        attainment=row["attainment_new"],
        projected=projection / target if target and projection is not None else None,
        rank=row["rank"],
        reported=bool(row["branches_reported"]),
    )


def _ratio(part: Any, whole: Any) -> float | None:
    return part / whole if whole else None
