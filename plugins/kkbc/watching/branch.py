"""One branch: how its nights stand, how its visits went, what it delivered, and what it offers right now."""

from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg
from psycopg.rows import dict_row

from kkbc.core import clock
from kkbc.core.settings import get_settings
from kkbc.exchange.contracts import feeds_of
from kkbc.exchange.registry import load_registry
from kkbc.exchange.slices import Delivery
from kkbc.intake.sources import Wanted, open_source
from kkbc.warehouse import connect
from kkbc.watching.status import plain_values

LOOK_BACK = timedelta(days=7)


@dataclass(frozen=True)
class BranchReport:
    """What is known of a branch; nothing personal.

    entry: its registry entry. failing_since: start of the first failed visit after the last good one, None when the
    last visit was good. nights: the latest business dates that were run, with the branch's state and that of each feed
    (docs/architecture.md, "Standing"). attempts: visits, the latest first. slices: the revisions in force, held or
    rejected of the latest business dates that it delivered, with business_date, feed, revision, status, reason, detail,
    rows and drift.
    """

    entry: dict[str, Any]
    failing_since: datetime | None
    nights: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    slices: list[dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return cast(dict[str, Any], plain_values(asdict(self)))


def report(branch_id: str, *, attempts: int = 10, days: int = 7) -> BranchReport:
    """The latest `attempts` visits to a branch, its latest `days` nights, and as many business dates that it delivered.

    Raises UserError when the registry does not know the branch or the warehouse cannot be reached.
    """
    entry = load_registry().get(branch_id)
    with connect("auditor") as plain_conn:
        conn = cast("psycopg.Connection[dict[str, Any]]", plain_conn)
        conn.row_factory = dict_row
        since = conn.execute(_FAILING_SINCE, {"branch_id": branch_id}).fetchone()
        visits = conn.execute(_VISITS, {"branch_id": branch_id, "attempts": attempts}).fetchall()
        slices = conn.execute(_SLICES, {"branch_id": branch_id, "days": days}).fetchall()
        nights = conn.execute(_NIGHTS, {"branch_id": branch_id, "days": days}).fetchall()
    expected = feeds_of(branch_id)
    for night in nights:
        states = night.pop("states")
        night |= {feed: states.get(feed, "not_expected") for feed in expected}
    return BranchReport(
        entry=entry.model_dump(mode="json"),
        failing_since=since["failing_since"] if since else None,
        nights=nights,
        attempts=visits,
        slices=slices,
    )


def offered(branch_id: str, way: str | None = None, source_root: Path | None = None) -> list[Delivery]:
    """Enters a branch by its way, or by another `way`, and reads the manifests of the last days; takes nothing.

    Raises UserError for a branch or way that is none, and what a visit would raise: BranchRefused, BranchUnavailable,
    BranchTimeout.
    """
    branch = load_registry().get(branch_id)
    if way is not None:
        branch = branch.by(way)
    root = str(source_root) if source_root else get_settings().source_root
    today = clock.now().astimezone(clock.JAKARTA).date()
    with closing(open_source(branch, Path(root) if root else None)) as source:
        found = [(m.business_date, m) for m in source.manifests(Wanted(today - LOOK_BACK, today))]
        recent = max((day for day, _ in found), default=today) - LOOK_BACK
        return [manifest.read() for day, manifest in found if day >= recent]


_FAILING_SINCE: LiteralString = "select failing_since from ops.branch_failing where branch_id = %(branch_id)s"

_NIGHTS: LiteralString = """
select business_date, state, is_late, rows_shown as rows, rows_quarantined_shown as quarantined, states
from ops.branch_standing
where branch_id = %(branch_id)s
    and business_date > (select latest_business_date from ops.night_span) - %(days)s::integer
order by business_date desc
"""

_VISITS: LiteralString = """
select started_at, kind, outcome, slices, rows, bytes, seconds, reason, notes
from ops.visit where branch_id = %(branch_id)s order by attempt_id desc limit %(attempts)s
"""

_SLICES: LiteralString = """
with latest as (
    select distinct business_date from ops.revision where branch_id = %(branch_id)s
    order by business_date desc limit %(days)s
)
select
    business_date, feed, revision, status, reason, detail, rows_sent, rows_quarantined, file_name, drift
from ops.revision join latest using (business_date)
where branch_id = %(branch_id)s and status <> 'superseded' order by business_date desc, feed, revision desc
"""
