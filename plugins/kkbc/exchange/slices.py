"""The nouns that flow: slice, manifest entry, delivery."""

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

HEAD_OFFICE = "HQ"

# In the order in which they are looked for (Exchange rule 4): the first that is found is the reason.
RejectionReason = Literal[
    "SCHEMA_VERSION",
    "MANIFEST_BRANCH",
    "MANIFEST_DATE",
    "FILE_MISSING",
    "CHECKSUM",
    "UNREADABLE",
    "HEADER",
    "ROW_COUNT",
]

ERASED = "ERASED"
"""The code of a row that is about a person who was erased, and the text that stands in place of the person in a landed
file (Exchange rule 22)."""

# What a row may earn (branch exchange, table of codes). KEY_DUPLICATE, ROW_SHAPE and ERASED included.
RowCode = Literal[
    "ROW_SHAPE",
    "REQUIRED_MISSING",
    "VALUE_INVALID",
    "CODE_UNKNOWN",
    "BRANCH_MISMATCH",
    "NIK_FORMAT",
    "NIK_REGION",
    "NIK_DATE",
    "NIK_BIRTH_DATE",
    "NIK_SEX",
    "AGE_RANGE",
    "DATE_FUTURE",
    "INCOME_RANGE",
    "MONTHS_RANGE",
    "PHONE_FORMAT",
    "EMAIL_FORMAT",
    "DISTRICT_UNKNOWN",
    "AMOUNT_SUM",
    "AMOUNT_TIER",
    "PERIOD_ORDER",
    "NEGATIVE",
    "KEY_DUPLICATE",
    "ERASED",
]


@dataclass(frozen=True, order=True)
class Slice:
    """One revision of one feed of one branch and business date: the unit of every step."""

    feed: str
    branch_id: str
    business_date: date
    revision: int

    def __str__(self) -> str:
        return f"{self.feed}/{self.branch_id}/{self.business_date}/r{self.revision}"

    def key(self) -> dict[str, Any]:
        """The four values that name the slice in the warehouse, by column: parameters of SQL."""
        return {
            "feed": self.feed,
            "branch_id": self.branch_id,
            "business_date": self.business_date,
            "revision": self.revision,
        }


@dataclass(frozen=True)
class Entry:
    """What a manifest says of one slice.

    `name`, `bytes` and `sha256` are None for ways that send no files; `revision` and `sent_at` where those of the
    delivery hold.
    """

    feed: str
    rows: int
    name: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    revision: int | None = None
    sent_at: datetime | None = None


@dataclass(frozen=True)
class Delivery:
    """One manifest as read from a branch.

    `branch_id` and `business_date` are those of the place it was found in, whatever the manifest says of itself.
    `rejection` is set when the manifest condemns all its slices. `unknown_feeds`, `unlisted` and `notes`, which are
    lines without anything that the branch wrote, are for the report.
    """

    branch_id: str
    business_date: date
    revision: int
    sent_at: datetime | None
    entries: tuple[Entry, ...]
    manifest_name: str
    manifest_sha256: str
    rejection: tuple[RejectionReason, str] | None = None
    unknown_feeds: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = field(default=(), compare=False)
    notes: tuple[str, ...] = ()

    def slice_of(self, entry: Entry) -> Slice:
        """The slice that `entry` announces."""
        return Slice(entry.feed, self.branch_id, self.business_date, entry.revision or self.revision)
