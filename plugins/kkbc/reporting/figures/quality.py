"""What the night could take in and what not, and how good the data are."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import polars as pl

from kkbc.reporting.figures.view import View

FEEDS = ("pendaftaran", "iuran", "kegiatan")
STATUSES = ("on_time", "late", "empty", "missing", "rejected")


@dataclass(frozen=True)
class Night:
    """Slices of as_of by feed and status; branches of which at least one is missing or rejected, with those feeds.

    held: branches whose slices the gate holds, of any day: number and since when. reasons: quarantined rows by code.
    """

    slices: dict[str, dict[str, int]]
    absent: dict[str, list[str]]
    held: dict[str, tuple[int, date]]
    sent: int
    quarantined: int
    reasons: list[tuple[str, int]]


@dataclass(frozen=True)
class Rates:
    """Rates over the last 28 days, weighted by rows; None where there are none."""

    valid_nik: float | None
    contactable: float | None
    quarantined: float | None
    on_time: float | None


def night(view: View) -> Night:
    """What came of as_of."""
    today = view.frame("quality").filter(pl.col("business_date") == view.as_of)
    counts = {feed: dict.fromkeys(STATUSES, 0) for feed in FEEDS}
    absent: dict[str, list[str]] = {}
    for branch_id, feed, status in today.select("branch_id", "feed", "status").sort("branch_id").iter_rows():
        by_status = counts.setdefault(feed, dict.fromkeys(STATUSES, 0))
        by_status[status] = by_status.get(status, 0) + 1
        if status in ("missing", "rejected"):
            absent.setdefault(branch_id, []).append(feed)
    held = view.frame("standing").filter(pl.col("slices_held") > 0).sort("branch_id")
    reasons = view.frame("reasons").filter(pl.col("business_date") == view.as_of)
    return Night(
        slices=counts,
        absent=absent,
        held={row[0]: (row[1], row[2]) for row in held.select("branch_id", "slices_held", "held_since_date").rows()},
        sent=int(today["rows_sent"].sum() or 0),
        quarantined=int(today["rows_quarantined"].sum() or 0),
        reasons=_by_code(reasons),
    )


def reasons(view: View) -> list[tuple[str, int]]:
    """Quarantined rows of the last 28 days by code, the most frequent first."""
    return _by_code(view.frame("reasons"))


def calendar(view: View) -> list[tuple[date, str, str]]:
    """Day, feed and status of each slice of the last 28 days."""
    frame = view.frame("quality").select("business_date", "feed", "status").sort("business_date", "feed")
    return list(frame.iter_rows())


def rates(view: View) -> Rates:
    """How good the data of the last 28 days are."""
    frame = view.frame("quality")
    accepted = frame.filter(pl.col("feed") == "pendaftaran")
    taken = ("on_time", "empty")
    return Rates(
        valid_nik=_weighted(frame, "valid_nik_rate", "rows_sent"),
        contactable=_weighted(accepted, "contactable_rate", "rows_accepted"),
        quarantined=_ratio(frame["rows_quarantined"].sum(), frame["rows_sent"].sum()),
        on_time=_ratio(frame["status"].is_in(taken).sum(), len(frame)),
    )


def rows(view: View) -> list[tuple[str, int, int, int, int]]:
    """Rows sent, accepted and quarantined, and warnings, of the last 28 days by feed."""
    counted = ("rows_sent", "rows_accepted", "rows_quarantined", "warnings")
    summed = view.frame("quality").group_by("feed").agg(pl.col(counted).sum())
    by_feed = {row[0]: row for row in summed.select("feed", *counted).iter_rows()}
    return [by_feed[feed] for feed in FEEDS if feed in by_feed]


def last_whole_day(view: View) -> date | None:
    """Until when the days of a branch are whole."""
    found = view.frame("standing")["last_good_date"]
    return found[0] if len(found) else None


def first_day(view: View) -> date:
    """The first of the days that calendar and rates go over."""
    return view.as_of - timedelta(days=27)


def _by_code(frame: pl.DataFrame) -> list[tuple[str, int]]:
    summed = frame.group_by("code").agg(pl.col("rows").sum()).sort("rows", "code", descending=[True, False])
    return list(summed.iter_rows())


def _weighted(frame: pl.DataFrame, rate: str, weight: str) -> float | None:
    known = frame.filter(pl.col(rate).is_not_null() & pl.col(weight).is_not_null())
    return _ratio((known[rate] * known[weight]).sum(), known[weight].sum())


def _ratio(part: Any, whole: Any) -> float | None:
    return None if part is None or not whole else float(part) / float(whole)
