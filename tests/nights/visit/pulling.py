"""What tests of a visit ask the warehouse, and deliver."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from kkbc.nights.attempt import PullReport
from kkbc.warehouse import connect
from tests.deliveries import deliver

Pull = Callable[..., PullReport]
UNTIL = date(2023, 12, 31)


def query(statement: str) -> list[Any]:
    with connect() as conn:
        return conn.execute(statement).fetchall()  # type: ignore[arg-type]


def slices() -> list[Any]:
    return query(
        "select feed, revision, status, reason, rows_sent, rows_accepted, rows_quarantined from ops.slice"
        " order by business_date, feed, revision"
    )


DAY, NEXT_DAY = date(2023, 12, 11), date(2023, 12, 12)


def three_feeds(root: Path) -> None:
    """A delivery of each feed on two days."""
    for day in (DAY, NEXT_DAY):
        deliver(root, {"pendaftaran": [{}], "iuran": [{}], "kegiatan": [{}]}, day=day)
