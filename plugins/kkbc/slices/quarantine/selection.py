"""Which quarantined rows are meant, by filters or by address."""

import re
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, get_args

from kkbc.core.errors import UserError
from kkbc.exchange.contracts import feeds
from kkbc.exchange.registry import load_registry
from kkbc.exchange.slices import RowCode

_ADDRESS = re.compile(
    r"(?P<feed>[a-z_]+)/(?P<branch>[A-Za-z0-9]+)/(?P<day>\d{4}-\d{2}-\d{2})(/r(?P<revision>\d{1,9}))?(:(?P<line>\d{1,18}))?"
)

# Over ops.quarantine as q. A filter that is null lets everything through.
CHOSEN = """
    (%(branch)s::text is null or q.branch_id = %(branch)s)
    and (%(feed)s::text is null or q.feed = %(feed)s)
    and (%(since)s::date is null or q.business_date >= %(since)s)
    and (%(until)s::date is null or q.business_date <= %(until)s)
    and (%(code)s::text is null or %(code)s = any(q.errors))
    and (%(line)s::bigint is null or q.line = %(line)s)
"""


@dataclass(frozen=True)
class Selection:
    """Filters over quarantined rows; None lets everything through. `code` is one of a row's error codes."""

    branch: str | None = None
    feed: str | None = None
    since: date | None = None
    until: date | None = None
    code: str | None = None
    line: int | None = None

    def __post_init__(self) -> None:
        """Raises UserError for a branch, feed or code that does not exist, and for days in the wrong order."""
        if self.branch is not None:
            load_registry().get(self.branch)
        if self.feed is not None and self.feed not in feeds():
            raise UserError(f"unknown feed {self.feed!r}", f"feeds are: {', '.join(feeds())}")
        if self.code is not None and self.code not in get_args(RowCode):
            raise UserError(f"unknown code {self.code!r}", f"codes are: {', '.join(get_args(RowCode))}")
        if self.since is not None and self.until is not None and self.since > self.until:
            raise UserError(f"no day is from {self.since} until {self.until}", "give the earlier day as --since")

    @property
    def is_everything(self) -> bool:
        """Whether no filter was given."""
        return all(value is None for value in asdict(self).values())

    def parameters(self) -> dict[str, Any]:
        """The values that CHOSEN asks for."""
        return asdict(self)


@dataclass(frozen=True)
class Address:
    """One slice, of `revision` or (None) of the one in force, and perhaps one `line` of it."""

    feed: str
    branch_id: str
    business_date: date
    revision: int | None = None
    line: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Reads FEED/BRANCH/DATE[/rN][:LINE]. Raises UserError."""
        example = "it looks like pendaftaran/KC044/2023-12-11, with /r2 for a revision and :17 for a line"
        found = _ADDRESS.fullmatch(text)
        if found is None:
            raise UserError(f"{text!r} is no address of a slice", example)
        try:
            day = date.fromisoformat(found["day"])
        except ValueError as error:
            raise UserError(f"{found['day']} is no day", example) from error
        checked = Selection(branch=found["branch"], feed=found["feed"])
        assert checked.branch is not None
        assert checked.feed is not None
        return cls(
            checked.feed,
            checked.branch,
            day,
            int(found["revision"]) if found["revision"] else None,
            int(found["line"]) if found["line"] else None,
        )

    def __str__(self) -> str:
        revision = "" if self.revision is None else f"/r{self.revision}"
        return f"{self.feed}/{self.branch_id}/{self.business_date}{revision}"
