"""What all hostile branches have: good deliveries on three days, and what there is to say of an attack."""

import os
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from tests.deliveries import deliver

DAY = date(2023, 12, 11)
DAYS = (DAY - timedelta(days=1), DAY, DAY + timedelta(days=1))
FEEDS = ("pendaftaran", "iuran", "kegiatan")
SPARSE = 40 << 30


@dataclass
class Attack:
    """A hostile branch that is there for the length of a block: its kind, and the fields of its connection.

    `sent` is what it has put on the wire of the slice or answer that has no measure.
    """

    kind: str
    fields: dict[str, Any]
    sent: list[int] = field(default_factory=lambda: [0])


def deliveries(root: Path) -> Path:
    """A good delivery of one row a feed on each of the days; returns the folder of the middle one."""
    for day in DAYS:
        deliver(root, {feed: [{}] for feed in FEEDS}, day=day)
    return root / "KC001" / DAY.isoformat()


def sparse_deliveries(root: Path) -> None:
    """The same with a file of 40 GiB on the middle day, behind a manifest of a few hundred bytes."""
    os.truncate(deliveries(root) / "iuran.csv", SPARSE)
