"""One branch: how its visits went, what it delivered, and what it offers right now."""

from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import psycopg
from psycopg.rows import dict_row

from kkbc.core import clock
from kkbc.core.settings import get_settings
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
    last visit was good. attempts: rows of ops.attempt, the latest first. slices: the revisions in force or rejected of
    the latest business dates, with business_date, feed, revision, status, reason, detail, rows and drift.
    """

    entry: dict[str, Any]
    failing_since: datetime | None
    attempts: list[dict[str, Any]]
    slices: list[dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return cast(dict[str, Any], plain_values(asdict(self)))


def report(branch_id: str, *, attempts: int = 10, days: int = 7) -> BranchReport:
    """The latest `attempts` visits to a branch and its latest `days` delivered business dates.

    Raises UserError when the registry does not know the branch or the warehouse cannot be reached.
    """
    entry = load_registry().get(branch_id)
    with connect("auditor") as plain_conn:
        conn = cast("psycopg.Connection[dict[str, Any]]", plain_conn)
        conn.row_factory = dict_row
        since = conn.execute(
            "select min(started_at) as failing_since from ops.attempt where branch_id = %(id)s"
            " and outcome in ('failed', 'killed') and started_at > coalesce((select max(started_at) from ops.attempt"
            " where branch_id = %(id)s and outcome in ('loaded', 'nothing_new')), '-infinity')",
            {"id": branch_id},
        ).fetchone()
        visits = conn.execute(
            "select started_at, kind, outcome, slices, rows, bytes,"
            " extract(epoch from finished_at - started_at)::float8 as seconds, reason, notes"
            " from ops.attempt where branch_id = %s order by attempt_id desc limit %s",
            [branch_id, attempts],
        ).fetchall()
        slices = conn.execute(
            "with latest as (select distinct business_date from ops.slice where branch_id = %(id)s"
            " order by business_date desc limit %(days)s)"
            " select business_date, feed, revision, status, reason, detail, rows_sent, rows_quarantined, file_name,"
            " drift from ops.slice join latest using (business_date)"
            " where branch_id = %(id)s and status <> 'superseded' order by business_date desc, feed, revision desc",
            {"id": branch_id, "days": days},
        ).fetchall()
    return BranchReport(
        entry.model_dump(mode="json"), since["failing_since"] if since else None, list(visits), list(slices)
    )


def look(branch_id: str, way: str | None = None, source_root: Path | None = None) -> list[Delivery]:
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
