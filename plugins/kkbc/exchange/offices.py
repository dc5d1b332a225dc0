"""Where an office is and which regencies it serves: lines of the registry, over the reference tables of the seeds."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kkbc.core.errors import UserError
from kkbc.core.settings import PROJECT_ROOT
from kkbc.exchange.registry import Branch, Registry

SEEDS = PROJECT_ROOT / "dbt_project" / "seeds"
# The provinces' reference table has the zones of the clock by their Indonesian names.
ZONES = {"WIB": "Asia/Jakarta", "WITA": "Asia/Makassar", "WIT": "Asia/Jayapura"}


@dataclass(frozen=True)
class Office:
    """An office as the registry describes it; None what neither its line nor the reference table of its seat says."""

    branch_id: str
    branch_name: str | None = None
    kanwil_id: str | None = None
    province_code: str | None = None
    regency_code: str | None = None
    lat: float | None = None
    lng: float | None = None


@cache
def rows(name: str, folder: Path = SEEDS) -> tuple[dict[str, str], ...]:
    """The rows of a seed, every cell as text.

    Not by `exchange.reference`, which brings Polars and its threads into whoever imports it, Airflow's web server too.
    """
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def office_of(branch: Branch) -> Office:
    """What the registry says of an office: province, regional office and coordinates follow from its seat."""
    if branch.seat is None:
        return Office(branch.branch_id)
    seat = regency(branch.seat)
    if seat is None:
        return Office(branch.branch_id, branch.name, regency_code=branch.seat, lat=branch.lat, lng=branch.lng)
    return Office(
        branch_id=branch.branch_id,
        branch_name=branch.name,
        kanwil_id=regional_office(seat["province_code"]),
        province_code=seat["province_code"],
        regency_code=branch.seat,
        lat=float(seat["lat"]) if branch.lat is None else branch.lat,
        lng=float(seat["lng"]) if branch.lng is None else branch.lng,
    )


def regency(code: str) -> dict[str, str] | None:
    """The row of a regency in its reference table; None when it has none."""
    return next((row for row in rows("regencies") if row["code"] == code), None)


def regional_office(province_code: str) -> str | None:
    """The regional office of a province; None when no row of the reference table names it."""
    return next(
        (row["kanwil_id"] for row in rows("regional_offices") if province_code in row["province_codes"].split()), None
    )


def serving(registry: Registry, folder: Path = SEEDS) -> dict[str, str]:
    """The branch that serves each regency: that of the reference table, unless a line of the registry takes it over."""
    served = {row["regency_code"]: row["branch_id"] for row in rows("regency_to_branch", folder)}
    return served | {code: branch.branch_id for branch in registry.offices for code in branch.regencies}


def check_offices(registry: Registry) -> None:
    """Raises UserError when a line of the registry names a regency that there is not."""
    for branch in registry.branches:
        for code in (*branch.regencies, *filter(None, [branch.seat])):
            if regency(code) is None:
                raise UserError(
                    f"branch registry: {branch.branch_id}: there is no regency {code}",
                    "take its code from dbt_project/seeds/regencies.csv",
                )
