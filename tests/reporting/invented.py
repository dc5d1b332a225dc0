"""Invented marts, published: a campaign of so many branches and days that agrees with itself, without a build.

The tables are made as the properties of the marts say, filled in the hidden schema and published by the real
publication, so that readers, roles and row policies are those of any installation. Used by the tests and by
docs/images/reports.py.
"""

import csv
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any
from unittest import mock

import psycopg
from psycopg import sql

from kkbc.core.settings import PROJECT_ROOT
from kkbc.marts import models
from kkbc.publishing import publish_marts
from kkbc.warehouse import connect

CHANNELS = {
    "KANTOR": 0.24,
    "KUNJUNGAN": 0.12,
    "PASAR": 0.18,
    "KOMUNITAS": 0.13,
    "RADIO": 0.06,
    "PERISAI": 0.09,
    "JMO": 0.11,
    "MITRA": 0.07,
}
# What an activity reaches and costs.
TYPES = {
    "PASAR": (140, 1_900_000),
    "KOMUNITAS": (85, 1_400_000),
    "KUNJUNGAN": (24, 350_000),
    "RADIO": (600, 4_500_000),
    "LAINNYA": (40, 800_000),
}
CODES = {
    "NIK_DATE": 0.3,
    "NIK_FORMAT": 0.24,
    "DATE_FUTURE": 0.14,
    "AMOUNT_TIER": 0.12,
    "CODE_UNKNOWN": 0.1,
    "AGE_RANGE": 0.06,
}
FEEDS = ("pendaftaran", "iuran", "kegiatan")


@dataclass
class Campaign:
    """Rows of the published marts by table, each a dict by column."""

    first: date
    as_of: date
    branch_ids: list[str]
    seed: int = 7
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def invent(self) -> "Campaign":
        """Fills the tables."""
        self.chance = random.Random(self.seed)
        names = (
            *("dim_branch", "dim_channel", "dim_activity", "kpi_branch_daily", "kpi_channel_daily", "kpi_activity"),
            *("kpi_radio_lift", "kpi_retention", "kpi_target_monthly", "kpi_data_quality_daily"),
            *("quarantine_reasons_daily", "branch_standing", "kpi_national_daily", "kpi_coverage_province"),
        )
        self.tables = {name: [] for name in names}
        self.places = {row["branch_id"]: row for row in _seed("branches")}
        self.offices = {row["kanwil_id"]: row["kanwil_name"] for row in _seed("regional_offices")}
        self.tables["dim_channel"] = [
            {"channel_code": row["code"], "name_id": row["name_id"], "name_en": row["name_en"], "is_known": True}
            for row in _seed("channels")
        ]
        for number, branch_id in enumerate(self.branch_ids):
            self._branch(branch_id, number)
        self._nation()
        self._provinces()
        return self

    def days(self) -> Iterator[date]:
        """The days of the marts."""
        for n in range((self.as_of - self.first).days + 1):
            yield self.first + timedelta(days=n)

    def _branch(self, branch_id: str, number: int) -> None:
        place, chance = self.places[branch_id], self.chance
        parents = {row["province_code"]: row["province_code_2021"] for row in _seed("province_history")}
        self.tables["dim_branch"].append(
            {
                "branch_id": branch_id,
                "branch_name": place["branch_name"],
                "name_status": "public",
                "kanwil_id": place["kanwil_id"],
                "kanwil_name": self.offices[place["kanwil_id"]],
                "province_code": place["province_code"],
                "province_code_2021": parents.get(place["province_code"], place["province_code"]),
                "is_registered": True,
            }
        )
        size = 30 + 90 * chance.random() ** 2
        pull, zeal = chance.uniform(0.7, 1.25), chance.uniform(0.55, 1.2)
        aktif, months = int(size * 260), dict[date, int]()
        behind, debts = int(aktif * 0.12), [0.0, 0.0]
        spots = []
        for day in self.days():
            weekend = {5: 0.6, 6: 0.15}.get(day.weekday(), 1.0)
            active = day.weekday() < 6 and chance.random() < 0.35
            spot = day.weekday() in (1, 3) and chance.random() < 0.09
            lifted = (
                1.35 if any((day - other).days in (0, 1, 2) for other in [*spots, *([day] if spot else [])]) else 1.0
            )
            registrations = int(size * weekend * lifted * (1.5 if active else 1) * chance.uniform(0.75, 1.25))
            acquisitions = int(registrations * zeal * chance.uniform(0.62, 0.82))
            left = int(acquisitions * chance.uniform(0.55, 0.95) * (1.4 if day.day > 25 else 1))
            aktif += acquisitions - left
            behind += left
            debts[0] += left
            month = day.replace(day=1)
            months[month] = months.get(month, 0) + acquisitions
            row = {
                "branch_id": branch_id,
                "business_date": day,
                "branches_expected": 1,
                "registrations": registrations,
                "acquisitions": acquisitions,
                "reactivations": chance.randint(0, 3),
                "aktif": aktif,
                "menunggak": int(behind * 0.35),
                "non_aktif": int(behind * 0.65),
                "belum_aktif": int(aktif * 0.07),
                "contributions_idr": int(aktif / 28 * chance.uniform(17_000, 22_000)),
                "attainment_mtd": None,
                "activities": int(active) + int(spot),
                "contacts": 0,
                "activity_cost_idr": 0,
                "repeat_registrations": int(registrations * 0.03),
            }
            if active:
                self._activity(
                    row, chance.choice(["PASAR", "PASAR", "KOMUNITAS", "KUNJUNGAN", "LAINNYA"]), registrations
                )
            if spot:
                spots.append(day)
                self._activity(row, "RADIO", registrations)
            self._channels(row)
            self._deliveries(row, late=0.02 + 0.002 * (number % 9))
            self.tables["kpi_branch_daily"].append(row)
        self._targets(branch_id, pull, months)
        self._lifts(branch_id, spots, size)
        self._cohorts(branch_id, months)

    def _activity(self, row: dict[str, Any], kind: str, registrations: int) -> None:
        contacts, cost = TYPES[kind]
        contacts = int(contacts * self.chance.uniform(0.5, 1.5))
        cost_ = None if self.chance.random() < 0.05 else int(cost * self.chance.uniform(0.6, 1.5)) // 1000 * 1000
        code = f"{kind[:3]}-{row['business_date']:%y%m%d}"
        came = int(min(registrations, contacts) * self.chance.uniform(0.1, 0.4))
        paid = int(came * self.chance.uniform(0.3, 0.8))
        key = {"branch_id": row["branch_id"], "activity_code": code}
        self.tables["kpi_activity"].append(
            {
                **key,
                "type": kind,
                "contacts": contacts,
                "cost": cost_,
                "registrations": came,
                "acquisitions": paid,
                "cost_per_acquisition": cost_ / paid if cost_ is not None and paid else None,
            }
        )
        self.tables["dim_activity"].append(
            {**key, "activity_type": kind, "started_on": row["business_date"], "ended_on": row["business_date"]}
        )
        row["contacts"] += contacts
        row["activity_cost_idr"] += cost_ or 0

    def _channels(self, row: dict[str, Any]) -> None:
        shares = {code: share * self.chance.uniform(0.5, 1.5) for code, share in CHANNELS.items()}
        whole, left = sum(shares.values()), [row["registrations"], row["acquisitions"]]
        due = row["registrations"] if row["business_date"] >= self.first + timedelta(days=30) else 0
        activated = 0
        for code, share in shares.items():
            last = code == "MITRA"
            counts = [
                amount if last else min(amount, round(total * share / whole))
                for amount, total in zip(left, (row["registrations"], row["acquisitions"]), strict=True)
            ]
            left = [amount - count for amount, count in zip(left, counts, strict=True)]
            due_here = int(due * share / whole)
            active_here = int(due_here * self.chance.uniform(0.4, 0.8))
            activated += active_here
            if any((*counts, due_here)):
                self.tables["kpi_channel_daily"].append(
                    {
                        "branch_id": row["branch_id"],
                        "channel_code": code,
                        "business_date": row["business_date"],
                        "registrations": counts[0],
                        "acquisitions": counts[1],
                        "activation_days_sum": counts[1] * 4,
                        "activation_days_count": counts[1],
                        "activated_30d": active_here,
                        "registrations_30d_due": due_here,
                    }
                )
        row["activation_rate_30d"] = activated / due if due else None

    def _deliveries(self, row: dict[str, Any], late: float) -> None:
        statuses = []
        row["quarantined"] = 0
        down = self.chance.random() < 0.012
        for feed in FEEDS:
            draw = self.chance.random()
            status = "missing" if down or draw < 0.004 else "rejected" if draw < 0.007 else "on_time"
            status = "late" if status == "on_time" and draw < 0.007 + late else status
            sent = {
                "pendaftaran": row["registrations"],
                "iuran": row["registrations"] * 8,
                "kegiatan": row["activities"],
            }[feed]
            if status in ("missing", "rejected"):
                sent = 0
            elif not sent:
                status = "empty"
            bad = sum(self.chance.random() < 0.02 for _ in range(min(sent, 60))) if feed != "kegiatan" else 0
            row["quarantined"] += bad
            statuses.append(status)
            key = {"branch_id": row["branch_id"], "feed": feed, "business_date": row["business_date"]}
            self.tables["kpi_data_quality_daily"].append(
                {
                    **key,
                    "status": status,
                    "revision": None if status == "missing" else 1,
                    "rows_sent": sent,
                    "rows_accepted": sent - bad,
                    "rows_quarantined": bad,
                    "warnings": sent // 20,
                    "valid_nik_rate": 1 - bad / sent if sent and feed != "kegiatan" else None,
                    "contactable_rate": self.chance.uniform(0.8, 0.99) if sent and feed == "pendaftaran" else None,
                }
            )
            codes = self.chance.choices([*CODES], [*CODES.values()], k=bad)
            self.tables["quarantine_reasons_daily"] += [
                {**key, "code": code, "rows": codes.count(code)} for code in sorted(set(codes))
            ]
        row["branches_reported"] = int(any(status in ("on_time", "late", "empty") for status in statuses))
        row["slices_late"] = statuses.count("late")

    def _targets(self, branch_id: str, pull: float, months: dict[date, int]) -> None:
        rows = [row for row in self.tables["kpi_branch_daily"] if row["branch_id"] == branch_id]
        for month, acquired in months.items():
            days = (_next(month) - month).days
            own = [row for row in rows if row["business_date"].replace(day=1) == month]
            elapsed = own[-1]["business_date"].day
            usual = acquired / len(own) * days
            new = int(usual * pull / 10 + 1) * 10
            idr = sum(row["contributions_idr"] for row in own)
            self.tables["kpi_target_monthly"].append(
                {
                    "branch_id": branch_id,
                    "month": month,
                    "target_new": new,
                    "target_active": int(own[-1]["aktif"] * 1.04),
                    "target_idr": int(idr / len(own) * days * 1.05),
                    "realisation_new": acquired,
                    "realisation_active": own[-1]["aktif"],
                    "realisation_idr": idr,
                    "attainment_new": acquired / new,
                    "projection_new": acquired * days / elapsed,
                    "projection_active": float(own[-1]["aktif"]),
                    "projection_idr": idr * days / elapsed,
                    "rank": 1,
                }
            )
            for row in own:
                row["attainment_mtd"] = (
                    sum(r["acquisitions"] for r in own if r["business_date"] <= row["business_date"]) / new
                )

    def _lifts(self, branch_id: str, spots: list[date], size: float) -> None:
        for spot in spots:
            baseline = 3 * size * self.chance.uniform(0.8, 1.0) if spot > self.first + timedelta(days=28) else None
            observed = int(3 * size * self.chance.uniform(0.9, 1.5)) if spot + timedelta(days=2) <= self.as_of else None
            known = observed is not None and baseline is not None
            self.tables["kpi_radio_lift"].append(
                {
                    "branch_id": branch_id,
                    "spot_date": spot,
                    "observed": observed,
                    "baseline": baseline if observed is not None else None,
                    "lift": observed / baseline if known else None,  # type: ignore[operator]
                }
            )

    def _cohorts(self, branch_id: str, months: dict[date, int]) -> None:
        for month, acquired in months.items():
            for code, share in (("KANTOR", 0.4), ("PASAR", 0.25), ("JMO", 0.35)):
                size = int(acquired * share)
                for month_n, usual in ((1, 0.62), (3, 0.5), (6, 0.42), (12, 0.35)):
                    over = _month_end(_add_months(month, month_n)) <= self.as_of
                    if size and over:
                        keeps = {"KANTOR": 0.75, "PASAR": 0.9, "JMO": 1.4}[code] * usual * self.chance.uniform(0.9, 1.1)
                        self.tables["kpi_retention"].append(
                            {
                                "cohort_month": month,
                                "branch_id": branch_id,
                                "channel_code": code,
                                "month_n": month_n,
                                "cohort_size": size,
                                "covered": int(size * min(keeps, 1)),
                            }
                        )

    def _nation(self) -> None:
        counted = (
            *("branches_expected", "branches_reported", "registrations", "acquisitions", "reactivations"),
            *("aktif", "menunggak", "non_aktif", "belum_aktif", "contributions_idr"),
        )
        by_day: dict[date, dict[str, Any]] = {}
        for row in self.tables["kpi_branch_daily"]:
            sums = by_day.setdefault(row["business_date"], dict.fromkeys(counted, 0))
            for name in counted:
                sums[name] += row[name]
        self.tables["kpi_national_daily"] = [{"business_date": day, **sums} for day, sums in by_day.items()]
        standing = self.tables["branch_standing"]
        for number, branch_id in enumerate(self.branch_ids):
            held = number % 41 == 11
            standing.append(
                {
                    "branch_id": branch_id,
                    "last_good_date": self.as_of - timedelta(days=2 if held else 0),
                    "slices_held": 2 if held else 0,
                    "held_since_date": self.as_of - timedelta(days=1) if held else None,
                }
            )

    def _provinces(self) -> None:
        workers = {row["province_code"]: row for row in _seed("informal_workers_by_province") if row["year"] == "2023"}
        homes = {row["branch_id"]: row["province_code_2021"] for row in self.tables["dim_branch"]}
        for day in self.days():
            if _month_end(day) != day:
                continue
            aktif = dict.fromkeys(workers, 0)
            for row in self.tables["kpi_branch_daily"]:
                if row["business_date"] == day:
                    aktif[homes[row["branch_id"]]] += row["aktif"]
            self.tables["kpi_coverage_province"] += [
                {
                    "province_code": code,
                    "month_end": day,
                    "aktif": aktif[code],
                    "informal_workers": int(row["informal_workers_est"]),
                    "informal_workers_year": 2023,
                    "informal_workers_source": row["source"],
                    "coverage_pct": 100 * aktif[code] / int(row["informal_workers_est"]),
                    "attribution_rule": "registering_office",
                }
                for code, row in workers.items()
            ]


def publish(campaign: Campaign) -> int:
    """Publishes the campaign in the current warehouse, over what it holds; returns the number of the publication."""
    made = [replace(model, foreign_keys=()) for model in models.published_models() if model.schema == "bi"]
    with connect("transformer") as conn:
        for model in made:
            _fill(conn, model, campaign.tables.get(model.name, []))
        row = conn.execute(
            "insert into ops.build (as_of, first_business_date, outcome) values (%s, %s, 'published')"
            " returning build_id",
            [campaign.as_of, campaign.first],
        ).fetchone()
    assert row is not None
    with mock.patch.object(models, "published_models", return_value=made), connect("publisher") as conn:
        return publish_marts(conn, build_id=row[0], as_of=campaign.as_of).publication_id


def _fill(conn: psycopg.Connection, model: models.PublishedModel, rows: Iterable[dict[str, Any]]) -> None:
    table = sql.Identifier("next", model.name)
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}{}").format(
            sql.Identifier(name), sql.SQL(kind), sql.SQL(" not null" if name in model.primary_key else "")
        )
        for name, kind in model.columns.items()
    )
    conn.execute(sql.SQL("drop table if exists {}").format(table))
    conn.execute(sql.SQL("create table {} ({})").format(table, columns))
    with conn.cursor().copy(sql.SQL("copy {} from stdin").format(table)) as copy:
        for row in rows:
            copy.write_row([row.get(name) for name in model.columns])


@contextmanager
def published(campaign: Campaign) -> Iterator[Campaign]:
    """The campaign, published in the current warehouse."""
    publish(campaign)
    yield campaign


def _seed(name: str) -> list[dict[str, str]]:
    path = PROJECT_ROOT / "dbt_project" / "seeds" / f"{name}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _add_months(month: date, count: int) -> date:
    year, number = divmod(month.year * 12 + month.month - 1 + count, 12)
    return date(year, number + 1, 1)


def _next(month: date) -> date:
    return _add_months(month.replace(day=1), 1)


def _month_end(day: date) -> date:
    return _next(day) - timedelta(days=1)
