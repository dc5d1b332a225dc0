"""The deadline: by 05:00 Asia/Jakarta the business date of the day before is published, or a message goes out."""

from datetime import date, datetime, timedelta
from typing import Any

from kkbc.core import clock
from kkbc.warehouse import connect
from kkbc.watching.notifying.sending import note, send_unsent


def day_due(at: datetime) -> date:
    """The latest business date that must be published at `at`."""
    return clock.last_deadline(at).date() - timedelta(days=1)


def check_deadline(at: datetime | None = None) -> dict[str, Any]:
    """Sends a message, once, when nothing is published of the business date that is due at `at` (None: now).

    It asks what is published and nothing else, so that a night of which not even a run was begun is reported too.
    Returns business_date, published, and the messages that went out or failed to. Raises UserError when the warehouse
    cannot be reached.
    """
    day = day_due(at or clock.now())
    with connect("auditor", autocommit=True) as conn:
        # Not what is live: whoever rolled back since then knows.
        row = conn.execute("select latest_as_of >= %s from ops.publication_live", [day]).fetchone()
        published = row is not None and bool(row[0])
        if not published:
            note(conn, day, "deadline")
        notices = send_unsent(conn)
    return {
        "business_date": day.isoformat(),
        "published": published,
        "notices": [notice.as_json() for notice in notices],
    }
