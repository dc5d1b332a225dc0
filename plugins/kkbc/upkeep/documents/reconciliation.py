"""The reconciliation page: how active participants spread over provinces, in the mart and in public counts of 2023.

Shares are compared, never levels: the campaign is a part of the agency's participants, and simulated ones are invented.
"""

import csv
from dataclasses import dataclass
from datetime import date
from html import escape
from pathlib import Path
from string import Template

import psycopg

from kkbc.core.errors import UserError
from kkbc.core.settings import PROJECT_ROOT
from kkbc.upkeep.documents.pages import page, table

SEEDS = PROJECT_ROOT / "dbt_project" / "seeds"
PAGE = Path(__file__).with_name("reconciliation.html")
CAPITAL = "31"
HEADS = [
    "Kode",
    "Provinsi",
    "BPU 2023 (orang)",
    "Porsi BPU 2023",
    "BPU 2023 seri lain (orang)",
    "Porsi seri lain",
    "Aktif mart (orang)",
    "Porsi mart",
    "Selisih (poin)",
]


@dataclass(frozen=True)
class Mart:
    """Active participants by province of before the split, on a day; `is_month_end`: from the monthly mart."""

    day: date
    is_month_end: bool
    rule: str
    aktif: dict[str, int]


def reconciliation_page(conn: psycopg.Connection) -> str:
    """The page, of what is published. `conn` acts as role bi. Raises UserError when nothing is published."""
    mart, public, other = read_mart(conn), _public(), _other_public()
    names = {row["province_code"]: row["province_name"] for row in _seed("bpjstk_participants_by_province_2023")}
    lines = []
    for code in sorted({*public, *mart.aktif}):
        public_share, found = share(public, code), share(mart.aktif, code)
        cells = [code, names.get(code, "–"), _number(public.get(code, 0)), _percent(public_share)]
        cells += [_number(other.get(code, 0)), _percent(share(other, code))]
        cells += [_number(mart.aktif.get(code, 0)), _percent(found), _points(public_share, found)]
        lines.append([escape(cell) for cell in cells])
    sums = [_number(sum(counts.values())) for counts in (public, other, mart.aktif)]
    lines.append(["", "Indonesia", sums[0], "", sums[1], "", sums[2], "", ""])
    same = sum(public.values()) == sum(other.values())
    text = Template(PAGE.read_text(encoding="utf-8")).substitute(
        when=_when(mart),
        rule=escape(mart.rule),
        agreement=f"{'sama' if same else 'berbeda'} secara nasional ({sums[0]} dan {sums[1]} orang)",
        capital_public=f"{_percent(share(public, CAPITAL))} peserta",
        capital_other=_percent(share(other, CAPITAL)),
        table=table(HEADS, lines, numbers=range(2, len(HEADS))),
        distance=_distance(public, other, mart),
    )
    return page("Rekonsiliasi peserta aktif per provinsi", text)


def _when(mart: Mart) -> str:
    day = f"{mart.day:%d-%m-%Y}"
    if mart.is_month_end:
        return f"akhir bulan terbaru yang diterbitkan, {day} (<code>kpi_coverage_province</code>)"
    return (
        f"hari terakhir yang diterbitkan, {day} (<code>kpi_branch_daily</code>), sebab belum ada akhir bulan yang"
        " diterbitkan; hitungannya sama dengan <code>kpi_coverage_province</code>"
    )


def _distance(public: dict[str, int], other: dict[str, int], mart: Mart) -> str:
    moved = displacement(public, mart.aktif)
    if moved is None:
        return "Mart belum memuat peserta aktif, jadi belum ada porsi yang dapat dibandingkan."
    return (
        f"Jarak kedua sebaran: {_percent(moved)} peserta mart harus berpindah provinsi agar porsinya sama dengan BPU"
        f" 2023. Sebagai ukuran: jarak antara kedua seri publik {_percent(displacement(public, other))}."
    )


def read_mart(conn: psycopg.Connection) -> Mart:
    """The latest published month end; before the first one, the latest published day, counted by the same rule."""
    try:
        rows = conn.execute(
            "select month_end, attribution_rule, province_code, aktif from bi.kpi_coverage_province"
            " where month_end = (select max(month_end) from bi.kpi_coverage_province)"
        ).fetchall()
        if rows:
            return Mart(rows[0][0], True, rows[0][1], {code: int(aktif) for _, _, code, aktif in rows})
        rows = conn.execute(
            "select daily.business_date, branches.province_code_2021, sum(daily.aktif) from bi.kpi_branch_daily daily"
            " join bi.dim_branch branches using (branch_id) where branches.province_code_2021 is not null"
            " and daily.business_date = (select max(business_date) from bi.kpi_branch_daily) group by 1, 2"
        ).fetchall()
    except psycopg.errors.UndefinedTable:
        rows = []
    if not rows:
        raise UserError("nothing is published in schema bi", "run a night first: `kkbc run` or `make run`")
    return Mart(rows[0][0], False, "registering_office", {code: int(aktif) for _, code, aktif in rows})


def share(counts: dict[str, int], code: str) -> float | None:
    """The share of a province in all provinces; None when there is nobody at all."""
    whole = sum(counts.values())
    return counts.get(code, 0) / whole if whole else None


def displacement(one: dict[str, int], other: dict[str, int]) -> float | None:
    """The share of people who would have to be elsewhere for both to spread alike; None when one of them is empty."""
    pairs = [(share(one, code), share(other, code)) for code in {*one, *other}]
    known = [abs(a - b) for a, b in pairs if a is not None and b is not None]
    return sum(known) / 2 if known else None


def _public() -> dict[str, int]:
    rows = _seed("bpjstk_participants_by_province_2023")
    return {row["province_code"]: int(row["active_bpu"]) for row in rows}


def _other_public() -> dict[str, int]:
    rows = (row for row in _seed("informal_workers_by_province") if row["year"] == "2023")
    return {row["province_code"]: int(row["bpjstk_active_bpu"] or 0) for row in rows}


def _seed(name: str) -> list[dict[str, str]]:
    with (SEEDS / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _number(value: int) -> str:
    return f"{value:,}".replace(",", ".")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f} %".replace(".", ",")


def _points(public: float | None, mart: float | None) -> str:
    return "–" if public is None or mart is None else f"{100 * (mart - public):+.2f}".replace(".", ",")
