"""What is published, compared with the truth figure by figure."""

import json
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

Rows = list[dict[str, Any]]

GRAIN = {
    "kpi_national_daily": ("business_date",),
    "kpi_branch_daily": ("branch_id", "business_date"),
    "kpi_channel_daily": ("branch_id", "channel_code", "business_date"),
    "kpi_activity": ("branch_id", "activity_code"),
    "kpi_radio_lift": ("branch_id", "spot_date"),
    "kpi_retention": ("cohort_month", "branch_id", "channel_code", "month_n"),
    "kpi_target_monthly": ("branch_id", "month"),
    "kpi_coverage_province": ("province_code", "month_end"),
    "kpi_occupation_monthly": ("branch_id", "occupation_code", "month"),
    "kpi_data_quality_daily": ("branch_id", "feed", "business_date"),
    "quarantine_reasons_daily": ("branch_id", "feed", "business_date", "code"),
}
"""The marts that the truth knows, and what tells their rows apart."""


def read_truth(path: Path) -> Mapping[str, Rows]:
    """The rows that each mart of GRAIN must show, from a file of a world's folder `truth`."""
    truth = json.loads(path.read_text(encoding="utf-8"))
    marts: dict[str, Rows] = dict(truth["marts"])
    marts["quarantine_reasons_daily"] = truth["quarantine"]
    marts["kpi_data_quality_daily"] = [
        {name: value for name, value in row.items() if name != "reason"} for row in truth["slices"]
    ]
    return marts


def rows_of(conn: psycopg.Connection, mart: str, schema: str = "bi") -> tuple[list[str], Rows]:
    """Columns and rows of a published mart, dates as ISO text and exact numbers as integers, as the truth has them."""
    cursor = conn.execute(sql.SQL("select * from {}").format(sql.Identifier(schema, mart)))
    assert cursor.description is not None
    names = [column.name for column in cursor.description]
    return names, [dict(zip(names, map(plain_value, row), strict=True)) for row in cursor.fetchall()]


def plain_value(value: Any) -> Any:
    """A value of the warehouse as JSON has it."""
    if isinstance(value, date):
        return value.isoformat()
    return int(value) if isinstance(value, Decimal) else value


def differences(conn: psycopg.Connection, mart: str, wanted: Rows) -> list[str]:
    """A line for each row that only one side has, and for each figure that differs or that the mart lacks."""
    columns, found = rows_of(conn, mart)
    grain = GRAIN[mart]
    left = {tuple(row[name] for name in grain): row for row in found}
    right = {tuple(row[name] for name in grain): row for row in wanted}
    lines = [f"{mart}: {len(found) - len(left)} rows more than keys"] if len(left) != len(found) else []
    lines += [f"{mart} {key}: only in the mart" for key in left.keys() - right.keys()]
    lines += [f"{mart} {key}: only in the truth" for key in right.keys() - left.keys()]
    for key in left.keys() & right.keys():
        lines += [f"{mart} lacks {name}" for name in right[key] if name not in columns]
        lines += [
            f"{mart} {key} {name}: {left[key][name]!r}, truth {want!r}"
            for name, want in right[key].items()
            if name in columns and left[key][name] != want
        ]
    return lines
