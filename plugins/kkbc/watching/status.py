"""Status: what the last published night says, and what needs a person. Read by role auditor; nothing personal in it."""

from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Literal, LiteralString, cast

import psycopg
from psycopg.rows import dict_row

from kkbc.core import clock
from kkbc.core.errors import UserError
from kkbc.warehouse import connect

DictConnection = psycopg.Connection[dict[str, Any]]

Health = Literal["ok", "late", "down"]
A_DAY = timedelta(days=1)


@dataclass
class Status:
    """The state of the warehouse after its latest run.

    health: see `health`. publication_id, published_as_of, published_at: what BI sees now; restores, rolled_back_why:
    the publication that somebody went back to for it, and the reason. alert: what the operator was told after the pulls
    of the latest run. missing: branches of which something is missing of the last published day. held: slices that the
    gate holds back, of whatever day, with feed, branch_id, business_date, revision, rows_sent.
    `national` is the row of bi.kpi_national_daily of the last published day. `best` and `worst` are rows with
    branch_id, branch_name, acquisitions, registrations, attainment_mtd. `owing` lists the slices that are missing or
    rejected, of whatever day, and those that were late on the last one. `steps` are the seconds of each step of the
    latest run. `data_warnings` are what dbt's tests found wrong with seeds and references in the latest build of each
    layer, with rows; the figures of everything else are right all the same.
    """

    health: Health = "late"
    publication_id: int | None = None
    restores: int | None = None
    rolled_back_why: str | None = None
    published_as_of: date | None = None
    published_at: datetime | None = None
    alert: str | None = None
    missing: list[str] = field(default_factory=list)
    held: list[dict[str, Any]] = field(default_factory=list)
    last_run: dict[str, Any] | None = None
    national: dict[str, Any] | None = None
    best: list[dict[str, Any]] = field(default_factory=list)
    worst: list[dict[str, Any]] = field(default_factory=list)
    quarantined: list[dict[str, Any]] = field(default_factory=list)
    owing: list[dict[str, Any]] = field(default_factory=list)
    failed_expectations: list[dict[str, Any]] = field(default_factory=list)
    data_warnings: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The status as JSON values: dates ISO, numbers as numbers."""
        return {name: plain_values(value) for name, value in asdict(self).items()}


def status(run_id: str | None = None, *, best: int = 5) -> Status:
    """Reads the status, with the steps of run `run_id` (None: of the latest one); that of an empty warehouse is empty.

    Raises UserError when the warehouse cannot be reached.
    """
    found = Status()
    with connect("auditor") as plain_conn:
        conn = cast(DictConnection, plain_conn)
        conn.row_factory = dict_row
        found.last_run = _first(
            conn,
            "select run_id, as_of, mode, outcome, started_at, finished_at, alert from ops.run"
            " where run_id = %(run_id)s or %(run_id)s::text is null order by started_at desc limit 1",
            {"run_id": run_id},
        )
        if found.last_run is not None:
            run_id, found.alert = found.last_run["run_id"], found.last_run.pop("alert")
            found.steps = _all(conn, _STEPS, {"run_id": run_id})
            found.failed_expectations = _all(conn, _FAILED, {"run_id": run_id})
        found.data_warnings = _all(conn, _WARNED, {})
        found.held = _all(conn, _HELD, {})
        publication = _first(
            conn,
            "select publication_id, build_id, as_of, published_at, restores, why from ops.publication"
            " order by publication_id desc limit 1",
        )
        if publication is None:
            return found
        found.publication_id, found.restores = publication["publication_id"], publication["restores"]
        found.rolled_back_why = publication["why"]
        found.published_as_of, found.published_at = publication["as_of"], publication["published_at"]
        found.health = _health(_first(conn, _LIVE_FROM))
        day = {"day": found.published_as_of, "build_id": publication["build_id"], "top": best}
        found.national = _first(conn, "select * from bi.kpi_national_daily where business_date = %(day)s", day)
        found.best = _all(conn, _RANKED.format(direction="desc"), day)
        found.worst = _all(conn, _RANKED.format(direction="asc"), day)
        found.quarantined = _all(conn, _QUARANTINED, day)
        found.owing = _all(conn, _OWING, day)
        owed = (row for row in found.owing if row["status"] == "missing" and row["business_date"] == day["day"])
        found.missing = sorted({row["branch_id"] for row in owed})
    return found


def health() -> Health:
    """Whether what BI sees is of the last night: for watchdogs, and never an error.

    late: it was published before the day that ended with the last deadline (05:00 Jakarta), or rolled back to such a
    publication. down: the warehouse cannot be reached, or was never migrated.
    """
    try:
        with connect("auditor") as plain_conn:
            conn = cast(DictConnection, plain_conn)
            conn.row_factory = dict_row
            return _health(_first(conn, _LIVE_FROM))
    except (UserError, psycopg.Error):
        return "down"


def _health(live: dict[str, Any] | None) -> Health:
    since = clock.last_deadline(clock.now()) - A_DAY
    return "ok" if live is not None and live["published_at"] >= since else "late"


# What BI sees was published then; a rollback has a time of its own.
_LIVE_FROM = """
select coalesce(restored.published_at, latest.published_at) as published_at
from ops.publication latest left join ops.publication restored on restored.publication_id = latest.restores
order by latest.publication_id desc limit 1
"""


_STEPS = """
select 'pull' as step, extract(epoch from max(finished_at) - min(started_at))::float8 as seconds, 'ok' as outcome
from ops.attempt where run_id = %(run_id)s having count(*) > 0
union all
(select step, extract(epoch from finished_at - started_at)::float8, outcome from ops.step
 where run_id = %(run_id)s order by step_id)
"""

_FAILED = """
select r.checkpoint, r.suite, r.expectation, r.column_name, r.slice, r.observed, r.severity,
    coalesce(r.told, concat_ws(' ', r.suite, r.column_name, r.slice, r.observed)) as told
from ops.audit_result r join ops.build b using (build_id)
where b.run_id = %(run_id)s and not r.success
order by array_position(array['fail', 'hold', 'warn'], r.severity), r.suite, r.column_name
"""

_WARNED = """
select split_part(unique_id, '.', 3) as test, message
from (
    -- A layer that was built twice for one build, as after a retry, has two results of each test.
    select distinct on (unique_id) unique_id, status, message
    from ops.dbt_result
    where (layer, build_id) in (select layer, max(build_id) from ops.dbt_result group by layer)
    order by unique_id, recorded_at desc
) as latest
where status = 'warn'
order by test
"""

_HELD = """
select feed, branch_id, business_date, revision, rows_sent from ops.slice
where status = 'held' order by business_date desc, branch_id, feed
"""

_RANKED = """
select k.branch_id, d.branch_name, k.registrations, k.acquisitions, k.attainment_mtd
from bi.kpi_branch_daily k join bi.dim_branch d using (branch_id)
where k.business_date = %(day)s and k.attainment_mtd is not null
order by k.attainment_mtd {direction}, k.branch_id limit %(top)s
"""

_QUARANTINED = """
select code, count(*) as rows
from ops.quarantine q join ops.slice s using (feed, branch_id, business_date, revision), unnest(q.errors) as code
where s.build_id = %(build_id)s and s.status = 'loaded' and coalesce(q.closed_as, 'resolved') = 'resolved'
group by code order by 2 desc, 1
"""

_OWING = """
select q.business_date, q.status, q.feed, q.branch_id, d.branch_name, s.reason
from bi.kpi_data_quality_daily q
join bi.dim_branch d using (branch_id)
left join ops.slice s on q.status = 'rejected' and (s.feed, s.branch_id, s.business_date, s.revision)
    = (q.feed, q.branch_id, q.business_date, q.revision)
where q.status in ('missing', 'rejected') or (q.status = 'late' and q.business_date = %(day)s)
order by q.status = 'missing', q.business_date desc, q.status, q.branch_id, q.feed
"""


def _first(conn: DictConnection, query: LiteralString, values: dict[str, Any] | None = None) -> dict[str, Any] | None:
    return conn.execute(query, values).fetchone()


def _all(conn: DictConnection, query: LiteralString, values: dict[str, Any]) -> list[dict[str, Any]]:
    return conn.execute(query, values).fetchall()


def plain_values(value: Any) -> Any:
    """A row, or rows, as JSON values: dates ISO, numbers as numbers."""
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: plain_values(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain_values(item) for item in value]
    return value if isinstance(value, str | int | float | None) else int(value)
