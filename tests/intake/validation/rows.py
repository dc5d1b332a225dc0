"""Valid rows of every feed, by warehouse column, and the way to have changed ones judged. Every person is invented."""

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from kkbc.exchange.contracts import load_contract
from kkbc.exchange.registry import load_registry
from kkbc.exchange.slices import Slice
from kkbc.intake.validation import Context, Judged, judge

BUSINESS_DATE = date(2023, 12, 11)
SENT_AT = datetime(2023, 12, 11, 12, 2, 11, tzinfo=UTC)
OFFICES = frozenset(branch.branch_id for branch in load_registry().offices)

VALID: dict[str, dict[str, str | None]] = {
    "pendaftaran": {
        "registration_no": "P-0001",
        "branch_id": "KC044",
        "registered_at": "2023-12-11T09:15:00",
        "nik": "3172065503959001",
        "kpj": "12345678901",
        "full_name": "Sri Rejeki",
        "birth_place": "Jakarta",
        "birth_date": "1995-03-15",
        "sex": "P",
        "phone": "081234567890",
        "email": "sri@contoh.id",
        "address": "Jl. Contoh 1",
        "postal_code": "14140",
        "district_code": "317206",
        "occupation_code": "PEDAGANG_PASAR",
        "work_place": "Pasar Contoh",
        "work_start": "05:00",
        "work_end": "12:00",
        "declared_income": "1500000",
        "program_code": "JKK_JKM",
        "months_covered": "3",
        "channel_code": "PASAR",
        "activity_code": "A-1",
        "officer_code": "O-1",
        "segment_code": "MANDIRI",
        "record_status": "BARU",
        "updated_at": "2023-12-11T10:00:00",
    },
    "iuran": {
        "payment_id": "B-0001",
        "branch_id": "KC044",
        "nik": "3172065503959001",
        "paid_at": "2023-12-11T09:15:00",
        "payment_channel": "BRI",
        "coverage_start": "2023-12-12",
        "months_covered": "3",
        "program_code": "JKK_JKM_JHT",
        "jkk_amount": "30000",
        "jkm_amount": "20400",
        "jht_amount": "60000",
        "total_amount": "110400",
        "record_status": "BARU",
        "updated_at": "2023-12-11T10:00:00",
    },
    "kegiatan": {
        "activity_code": "A-1",
        "branch_id": "KC044",
        "activity_type": "RADIO",
        "activity_name": "Siaran pagi",
        "started_at": "2023-12-11T06:00:00",
        "ended_at": "2023-12-11T07:00:00",
        "place": "Studio",
        "district_code": "317206",
        "target_occupation": "PEDAGANG_PASAR",
        "contacts": "1200",
        "cost": "750000",
        "radio_station": "Radio Contoh",
        "duration_min": "60",
        "record_status": "BARU",
        "updated_at": "2023-12-11T10:00:00",
    },
    "target": {
        "branch_id": "KC044",
        "month": "2023-12",
        "target_new": "500",
        "target_active": "9000",
        "target_idr": "200000000",
    },
}


def context(
    feed: str,
    zone: str = "Asia/Jakarta",
    business_date: date = BUSINESS_DATE,
    sent_at: datetime | None = SENT_AT,
    seen_at: datetime | None = None,
) -> Context:
    branch_id = "HQ" if feed == "target" else "KC044"
    return Context(Slice(feed, branch_id, business_date, 1), ZoneInfo(zone), sent_at, OFFICES, seen_at)


def batch(feed: str, rows: list[dict[str, str | None]], shapes: list[bool] | None = None) -> pl.DataFrame:
    """The frame that the reader would make of `rows`, from line 2 on."""
    columns = [column.name for column in load_contract(feed).columns]
    return pl.DataFrame(
        {
            "_line": range(2, len(rows) + 2),
            "_raw": [f"raw {line}" for line in range(2, len(rows) + 2)],
            "_shape_ok": shapes or [True] * len(rows),
            **{column: [row.get(column) for row in rows] for column in columns},
        },
        schema={"_line": pl.Int64, "_raw": pl.String, "_shape_ok": pl.Boolean, **dict.fromkeys(columns, pl.String)},
    )


def judged(feed: str, *changes: dict[str, str | None], **circumstances: Any) -> Judged:
    """Valid rows of `feed`, each with some cells changed, judged."""
    rows = [VALID[feed] | change for change in changes]
    return judge(batch(feed, rows), load_contract(feed), context(feed, **circumstances))


def codes(feed: str, change: dict[str, str | None], **circumstances: Any) -> tuple[set[str], set[str]]:
    """Error and warning codes of one valid row with some cells changed."""
    result = judged(feed, change, **circumstances)
    if result.accepted.height:
        return set(), set(result.accepted["_warnings"].item())
    return set(result.quarantined["_errors"].item()), set(result.quarantined["_warnings"].item())


def stored(feed: str, change: dict[str, str | None], column: str, **circumstances: Any) -> Any:
    """The value of `column` in the accepted row."""
    return judged(feed, change, **circumstances).accepted[column].item()
