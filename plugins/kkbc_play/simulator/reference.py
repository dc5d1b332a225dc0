"""The reference tables that the play and the truth share with the warehouse: its seeds, and nothing else."""

import csv
from collections import Counter
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from pathlib import Path

from kkbc.core.settings import PROJECT_ROOT

SEEDS = PROJECT_ROOT / "dbt_project" / "seeds"
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
        """The 122 branch ids, in order."""
        return list(self.branches)


def _rows(seeds: Path, name: str) -> list[dict[str, str]]:
    with (seeds / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _branches(seeds: Path, people: dict[str, int], districts: list[dict[str, str]]) -> dict[str, Branch]:
    branches = _rows(seeds, "branches")
    served = {row["regency_code"]: row["branch_id"] for row in _rows(seeds, "regency_to_branch")}
    home: dict[str, list[str]] = {}
    by_province: dict[str, list[str]] = {}
    for row in districts:
        home.setdefault(served.get(row["regency_code"], ""), []).append(row["code"])
        by_province.setdefault(row["code"][:2], []).append(row["code"])
    offices = Counter(row["province_code"] for row in branches)
    weight = {
        row["branch_id"]: Fraction(people[row["province_code"]], offices[row["province_code"]]) for row in branches
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


def load(seeds: Path = SEEDS) -> Reference:
    """Read the seeds. A branch's share is that of its province's people, split evenly between the branches there."""
    regencies = _rows(seeds, "regencies")
    districts = _rows(seeds, "districts")
    tiers = _rows(seeds, "bpu_income_tiers")
    informal = _rows(seeds, "informal_workers_by_province")
    people = {row["code"]: int(row["population_2024"]) for row in _rows(seeds, "provinces")}
    return Reference(
        branches=_branches(seeds, people, districts),
        provinces=frozenset(people),
        regencies=frozenset(row["code"] for row in regencies),
        districts=frozenset(row["code"] for row in districts),
        occupations=tuple(row["code"] for row in _rows(seeds, "occupations")),
        tiers=tuple(map(_tier, tiers)),
        tiers_until=max(date.fromisoformat(row["valid_to"]) for row in tiers),
        informal_workers={
            (row["province_code"], int(row["year"])): int(row["informal_workers_est"]) for row in informal
        },
        old_provinces=tuple(sorted({row["province_code"] for row in informal})),
    )
