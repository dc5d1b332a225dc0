"""One manifest to come, and what all ways of writing it share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import Any

from kkbc.core.files import replacing
from kkbc_play.simulator.rows import Row

WHOLE = {
    "SCHEMA_VERSION": "SCHEMA_VERSION",
    "MANIFEST_BRANCH": "MANIFEST_BRANCH",
    "MANIFEST_DATE": "MANIFEST_DATE",
    "NO_JSON": "UNREADABLE",
    "LISTED_TWICE": "UNREADABLE",
}
"""What condemns a whole delivery, and the reason by which its slices are rejected."""
STRAY = "absensi"
"""A feed that nobody knows."""
_JAKARTA = timezone(timedelta(hours=7))

Rows = Mapping[str, Sequence[Row]]
Json = dict[str, Any]


@dataclass
class Posting:
    """One manifest to come: the rows of its feeds, and what is to be wrong with it.

    `whole` condemns every slice (one of WHOLE), `refused` single ones by their rejection reason.
    """

    branch_id: str
    business_date: date
    revision: int
    sent_at: int
    feeds: dict[str, list[Row]]
    whole: str | None = None
    refused: dict[str, str] = field(default_factory=dict)
    stray: bool = False


def folder_of(root: Path, posting: Posting) -> Path:
    """The folder of the posting's branch and day below `root`, made when it is not there."""
    folder = root / posting.branch_id / posting.business_date.isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def head_of(rng: Random, posting: Posting, branch_ids: Sequence[str]) -> Json:
    """What a manifest says before its slices, wrong in the way that the posting asks for."""
    zone = UTC if rng.random() < 0.05 else _JAKARTA
    head: Json = {
        "schema_version": 1,
        "branch_id": posting.branch_id,
        "business_date": posting.business_date.isoformat(),
        "sent_at": datetime.fromtimestamp(posting.sent_at, zone).isoformat(),
    }
    if posting.whole == "SCHEMA_VERSION":
        head["schema_version"] = 2
    if posting.whole == "MANIFEST_BRANCH":
        head["branch_id"] = rng.choice([b for b in branch_ids if b != posting.branch_id])
    if posting.whole == "MANIFEST_DATE":
        head["business_date"] = (posting.business_date - timedelta(days=1)).isoformat()
    return head


def put_last(path: Path, content: bytes) -> None:
    """Writes a manifest so that nobody ever sees half of it."""
    with replacing(path) as made:
        made.write_bytes(content)
