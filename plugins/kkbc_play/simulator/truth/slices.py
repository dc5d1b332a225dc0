"""The figures by slice: status, counts, rates and quarantine reasons (KPI rules 3, 4, 18, 20)."""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

from kkbc_play.simulator.calendar import DAY, midnight
from kkbc_play.simulator.truth.facts import SliceKey, SliceRecord

_DUE_AFTER_MIDNIGHT = 30 * 60
Entry = dict[str, Any]


def expected_slices(feeds: Iterable[str], branches: Iterable[str], days: Iterable[date]) -> list[SliceKey]:
    """One slice for each feed, branch and day."""
    branch_ids, feed_names = list(branches), list(feeds)
    return [(feed, branch_id, day) for day in days for branch_id in branch_ids for feed in feed_names]


def slice_entries(records: Iterable[SliceRecord], expected: Iterable[SliceKey]) -> list[Entry]:
    """An object for each expected slice, with the columns of kpi_data_quality_daily and the reason of a rejection."""
    sent: dict[SliceKey, list[SliceRecord]] = {}
    for record in records:
        sent.setdefault((record.feed, record.branch_id, record.business_date), []).append(record)
    return [_entry(key, sent.get(key, [])) for key in expected]


def _entry(key: SliceKey, revisions: list[SliceRecord]) -> Entry:
    feed, branch_id, day = key
    taken = [record for record in revisions if record.rejection is None]
    shown = max(taken or revisions, key=lambda record: record.revision, default=None)
    sent = shown.rows_sent if shown else 0
    accepted = shown.rows_accepted if shown else 0
    return {
        "feed": feed,
        "branch_id": branch_id,
        "business_date": day.isoformat(),
        "status": _status(day, revisions, taken),
        "revision": shown.revision if shown else None,
        "reason": shown.rejection if shown else None,
        "rows_sent": sent,
        "rows_accepted": accepted,
        "rows_quarantined": shown.rows_quarantined if shown else 0,
        "warnings": shown.warnings if shown else 0,
        "valid_nik_rate": shown.valid_niks / sent if shown and sent and feed in {"pendaftaran", "iuran"} else None,
        "contactable_rate": shown.contactable / accepted if shown and accepted and feed == "pendaftaran" else None,
    }


def _status(day: date, revisions: list[SliceRecord], taken: list[SliceRecord]) -> str:
    if not revisions:
        return "missing"
    if not taken:
        return "rejected"
    if min(record.sent_at for record in taken) > midnight(day) + DAY + _DUE_AFTER_MIDNIGHT:
        return "late"
    return "on_time" if max(taken, key=lambda record: record.revision).rows_sent else "empty"


def quarantine_entries(chosen: dict[SliceKey, SliceRecord], first: date) -> list[Entry]:
    """The rows of quarantine_reasons_daily from `first` on, over slices in force."""
    return [
        {"branch_id": branch_id, "feed": feed, "business_date": day.isoformat(), "code": code, "rows": rows}
        for (feed, branch_id, day), record in sorted(
            chosen.items(), key=lambda item: (item[0][2], item[0][1], item[0][0])
        )
        if day >= first
        for code, rows in record.codes.items()
    ]


def days_between(first: date, last: date) -> list[date]:
    """Every day from `first` to `last`, both included."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]
