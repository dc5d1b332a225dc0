"""What the truth knows: every slice ever sent, and the facts of its accepted rows."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple, Protocol, TypeVar


class SliceRecord(NamedTuple):
    """One revision of a slice. Counts are 0 when `rejection` names a reason. Instants are seconds since 1970 UTC."""

    feed: str
    branch_id: str
    business_date: date
    revision: int
    sent_at: int
    rejection: str | None
    rows_sent: int
    rows_accepted: int
    rows_quarantined: int
    warnings: int
    valid_niks: int
    contactable: int
    codes: dict[str, int]


class Registration(NamedTuple):
    """An accepted row of pendaftaran; `day` is the Jakarta day of `at`."""

    branch_id: str
    business_date: date
    revision: int
    line: int
    key: str
    updated_at: int
    record_status: str
    nik: str
    at: int
    day: date
    channel: str
    activity: str | None
    occupation: str


class Payment(NamedTuple):
    """An accepted row of iuran; `day` is the Jakarta day of `at`."""

    branch_id: str
    business_date: date
    revision: int
    line: int
    key: str
    updated_at: int
    record_status: str
    nik: str
    at: int
    day: date
    start: date
    months: int
    total: int


class Activity(NamedTuple):
    """An accepted row of kegiatan; `day` and `ended` are Jakarta days."""

    branch_id: str
    business_date: date
    revision: int
    line: int
    key: str
    updated_at: int
    record_status: str
    kind: str
    day: date
    ended: date
    contacts: int
    cost: int | None


class Target(NamedTuple):
    """A row of target, sent by head office; `month` is YYYY-MM."""

    branch_id: str
    business_date: date
    revision: int
    line: int
    target_branch: str
    month: str
    new: int
    active: int
    idr: int


@dataclass
class Facts:
    """All slices and facts of a night, or of all nights."""

    slices: list[SliceRecord] = field(default_factory=list)
    registrations: list[Registration] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    activities: list[Activity] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def add(self, more: "Facts") -> None:
        """Append the facts of another night."""
        for name in vars(more):
            getattr(self, name).extend(getattr(more, name))


class _Keyed(Protocol):
    @property
    def branch_id(self) -> str: ...
    @property
    def business_date(self) -> date: ...
    @property
    def revision(self) -> int: ...
    @property
    def line(self) -> int: ...
    @property
    def key(self) -> str: ...
    @property
    def updated_at(self) -> int: ...
    @property
    def record_status(self) -> str: ...


_Fact = TypeVar("_Fact", bound=_Keyed)
SliceKey = tuple[str, str, date]


def slices_in_force(slices: Iterable[SliceRecord]) -> dict[SliceKey, SliceRecord]:
    """By (feed, branch, business date) the highest revision that was not rejected (Exchange rule 2)."""
    chosen: dict[SliceKey, SliceRecord] = {}
    for record in slices:
        key = (record.feed, record.branch_id, record.business_date)
        if record.rejection is None and (key not in chosen or chosen[key].revision < record.revision):
            chosen[key] = record
    return chosen


def rows_in_force(feed: str, facts: Iterable[_Fact], chosen: dict[SliceKey, SliceRecord]) -> list[_Fact]:
    """The rows that count: per branch and key the greatest (updated_at, business date, line) over the slices in force,
    unless that row is BATAL (Exchange rule 1).
    """
    winners: dict[tuple[str, str], _Fact] = {}
    revisions = {(key[1], key[2]): record.revision for key, record in chosen.items() if key[0] == feed}
    for fact in facts:
        if revisions.get((fact.branch_id, fact.business_date)) != fact.revision:
            continue
        key = (fact.branch_id, fact.key)
        best = winners.get(key)
        if best is None or (best.updated_at, best.business_date, best.line) < (
            fact.updated_at,
            fact.business_date,
            fact.line,
        ):
            winners[key] = fact
    return [fact for fact in winners.values() if fact.record_status != "BATAL"]


def targets_in_force(facts: Iterable[Target], chosen: dict[SliceKey, SliceRecord]) -> dict[tuple[str, str], Target]:
    """By (branch, month) the row of the latest business date, then revision, then line (KPI rule 11)."""
    best: dict[tuple[str, str], Target] = {}
    for fact in facts:
        record = chosen.get(("target", fact.branch_id, fact.business_date))
        if record is None or record.revision != fact.revision:
            continue
        key = (fact.target_branch, fact.month)
        if key not in best or best[key][1:4] < fact[1:4]:
            best[key] = fact
    return best
