"""The reference that the play and the truth share with the warehouse: its seeds, and new offices of the registry."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from pathlib import Path

from kkbc.exchange import offices
from kkbc.exchange.offices import SEEDS
from kkbc.exchange.registry import Registry, load_registry

_UTC_HOURS = {"Asia/Jakarta": 7, "Asia/Makassar": 8, "Asia/Jayapura": 9}
# Provinces of 2022 and later, as they were before the split.
_BEFORE_SPLIT = {"93": "91", "94": "91", "95": "91", "96": "92"}


@dataclass(frozen=True)
class Branch:
    """One branch office. `share` is its part of the nation's events (all shares sum to 1)."""

    branch_id: str
    name: str
    kanwil_id: str
    province_code: str
    utc_hours: int
    share: float
    districts: tuple[str, ...]

    @property
    def old_province(self) -> str:
        """The province of before the 2022 split (KPI rule 16)."""
        return _BEFORE_SPLIT.get(self.province_code, self.province_code)


@dataclass(frozen=True)
class Tier:
    """Monthly contributions in rupiah for declared incomes from `income_low` on."""

    income_low: int
    income_high: int
    jkk: int
    jkm: int
    jht: int


@dataclass(frozen=True)
class Reference:
    """Reference data as read from the seeds."""

    branches: dict[str, Branch]
    provinces: frozenset[str]
    regencies: frozenset[str]
    districts: frozenset[str]
    occupations: tuple[str, ...]
    tiers: tuple[Tier, ...]
    tiers_until: date
    informal_workers: dict[tuple[str, int], int]
    old_provinces: tuple[str, ...]

    @property
    def ids(self) -> list[str]:
        """The branch ids: those of the seeds in order, then new offices of the registry."""
        return list(self.branches)


def _branches(
    seeds: Path, registry: Registry, people: dict[str, int], districts: Sequence[dict[str, str]]
) -> dict[str, Branch]:
    branches = [*offices.rows("branches", seeds), *_new_offices(seeds, registry)]
    served = offices.serving(registry, seeds)
    home: dict[str, list[str]] = {}
    by_province: dict[str, list[str]] = {}
    for row in districts:
        home.setdefault(served.get(row["regency_code"], ""), []).append(row["code"])
        by_province.setdefault(row["code"][:2], []).append(row["code"])
    shared_by = Counter(row["province_code"] for row in branches)
    weight = {
        row["branch_id"]: Fraction(people[row["province_code"]], shared_by[row["province_code"]]) for row in branches
    }
    total = sum(weight.values())
    return {
        row["branch_id"]: Branch(
            branch_id=row["branch_id"],
            name=row["branch_name"],
            kanwil_id=row["kanwil_id"],
            province_code=row["province_code"],
            utc_hours=_UTC_HOURS[row["timezone"]],
            share=float(weight[row["branch_id"]] / total),
            districts=tuple(home.get(row["branch_id"]) or by_province[row["province_code"]]),
        )
        for row in branches
    }


def _tier(row: dict[str, str]) -> Tier:
    return Tier(
        int(row["income_low"]),
        int(row["income_high"] or 35_000_000),
        int(row["jkk"]),
        int(row["jkm"]),
        int(row["jht"]),
    )


def load(seeds: Path = SEEDS, registry: Registry | None = None) -> Reference:
    """Read the seeds and the registry (default: that of the settings).

    A branch's share is that of its province's people, split evenly between the branches there.
    """
    regencies = offices.rows("regencies", seeds)
    districts = offices.rows("districts", seeds)
    tiers = offices.rows("bpu_income_tiers", seeds)
    informal = offices.rows("informal_workers_by_province", seeds)
    people = {row["code"]: int(row["population_2024"]) for row in offices.rows("provinces", seeds)}
    return Reference(
        branches=_branches(seeds, registry or load_registry(), people, districts),
        provinces=frozenset(people),
        regencies=frozenset(row["code"] for row in regencies),
        districts=frozenset(row["code"] for row in districts),
        occupations=tuple(row["code"] for row in offices.rows("occupations", seeds)),
        tiers=tuple(map(_tier, tiers)),
        tiers_until=max(date.fromisoformat(row["valid_to"]) for row in tiers),
        informal_workers={
            (row["province_code"], int(row["year"])): int(row["informal_workers_est"]) for row in informal
        },
        old_provinces=tuple(sorted({row["province_code"] for row in informal})),
    )


def _new_offices(seeds: Path, registry: Registry) -> list[dict[str, str]]:
    """Offices that the registry describes and the seeds lack, as rows of the seed."""
    known = {row["branch_id"] for row in offices.rows("branches", seeds)}
    found = []
    for branch in registry.offices:
        office = offices.office_of(branch)
        if branch.branch_id not in known and office.branch_name and office.kanwil_id and office.province_code:
            found.append(
                {
                    "branch_id": branch.branch_id,
                    "branch_name": office.branch_name,
                    "kanwil_id": office.kanwil_id,
                    "province_code": office.province_code,
                    "timezone": branch.timezone,
                }
            )
    return found
