"""Status: what the last published night says, and what needs a person. Read by role auditor; nothing personal in it."""

from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Literal, LiteralString, cast

import psycopg
from psycopg.rows import dict_row

from kkbc.core import clock
from kkbc.core.errors import UserError
from kkbc.warehouse import connect, statements

DictConnection = psycopg.Connection[dict[str, Any]]

Health = Literal["ok", "late", "down"]
A_DAY = timedelta(days=1)


@dataclass
class Status:
    """The state of the warehouse after its latest run. The words are those of docs/architecture.md, "Standing".

    health: see `health`. publication_id, published_as_of, published_at: what BI sees now; restores, rolled_back_why:
    the publication that was gone back to for it, and the reason. alert: the message to the operator after the pulls of
    the latest run. missing, incomplete: branches of which all or some slices of the last published day are missing.
    held: slices that the gate holds back, of whatever day, with feed, branch_id, business_date, revision, rows_sent.
    `national` is the row of bi.kpi_national_daily of the last published day. `best` and `worst` are rows with
    branch_id, branch_name, acquisitions, registrations, attainment_mtd. `quarantined`: rows by code of the slices that
    were published last, or held then. `owing` lists the slices that are missing or rejected, of whatever published
    day, and those that were late on the last one. `steps` are the seconds of each step of the latest run.
    `data_warnings` are what dbt's tests found wrong with seeds and references in the latest build of each layer, with
    rows; the figures of everything else are right all the same.
    """

    health: Health = "late"
    publication_id: int | None = None
    restores: int | None = None
    rolled_back_why: str | None = None
    published_as_of: date | None = None
    published_at: datetime | None = None
    alert: str | None = None
    missing: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
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
        _read_run(conn, found, run_id)
        live = _first(conn, _LIVE)
        if live is not None:
            _read_publication(conn, found, live, best)
    return found


def slow_statements(most: int) -> list[dict[str, Any]]:
    """The SQL statements that took the most time since the last night began, as JSON values, without any value.

    Raises UserError when the warehouse cannot be reached, or its server keeps no statistics of statements.
    """
    with connect("auditor") as conn:
        return [plain_values(row) for row in statements.slowest(conn, most)]


def health() -> Health:
    """Whether what BI sees is of the last night: for watchdogs, and never an error.

    late: it was published before the day that ended with the last deadline (05:00 Jakarta), or rolled back to such a
    publication. down: the warehouse cannot be reached, or was never migrated.
    """
    try:
        with connect("auditor") as plain_conn:
            conn = cast(DictConnection, plain_conn)
            conn.row_factory = dict_row
            return _health(_first(conn, _LIVE))
    except (UserError, psycopg.Error):
        return "down"


def _read_run(conn: DictConnection, found: Status, run_id: str | None) -> None:
    """What came of run `run_id` (None: of the latest one), and what needs a person whatever is published."""
    found.last_run = _first(conn, _RUN, {"run_id": run_id})
    if found.last_run is not None:
        run, found.alert = {"run_id": found.last_run["run_id"]}, found.last_run.pop("alert")
        found.steps = _all(conn, _STEPS, run)
        found.failed_expectations = _all(conn, _FAILED, run)
    found.data_warnings = _all(conn, "select test, message from ops.data_warning order by test", {})
    found.held = _all(conn, _HELD, {})


def _read_publication(conn: DictConnection, found: Status, live: dict[str, Any], best: int) -> None:
    """What readers see, and how the slices of its last day stand."""
    found.health = _health(live)
    found.publication_id, found.restores, found.rolled_back_why = live["publication_id"], live["restores"], live["why"]
    found.published_as_of, found.published_at = live["as_of"], live["published_at"]
    day = {"day": live["as_of"], "build_id": live["build_id"], "top": best}
    found.national = _first(conn, "select * from bi.kpi_national_daily where business_date = %(day)s", day)
    found.best = _all(conn, _RANKED.format(direction="desc"), day)
    found.worst = _all(conn, _RANKED.format(direction="asc"), day)
    found.quarantined = _all(conn, _QUARANTINED, day)
    found.owing = _all(conn, _OWING, day)
    for row in _all(conn, _BRANCHES, day):
        (found.missing if row["is_missing"] else found.incomplete).append(row["branch_id"])


def _health(live: dict[str, Any] | None) -> Health:
    since = clock.last_deadline(clock.now()) - A_DAY
    return "ok" if live is not None and live["made_at"] >= since else "late"


_LIVE = "select publication_id, build_id, as_of, published_at, made_at, restores, why from ops.publication_live"

_RUN = """
select run_id, as_of, mode, outcome, started_at, finished_at, alert from ops.run_summary
where run_id = %(run_id)s or %(run_id)s::text is null order by started_at desc limit 1
"""

_STEPS = "select step, seconds, outcome from ops.run_step where run_id = %(run_id)s order by position"

_FAILED = """
select r.checkpoint, r.suite, r.expectation, r.column_name, r.slice, r.observed, r.severity,
    coalesce(r.told, concat_ws(' ', r.suite, r.column_name, r.slice, r.observed)) as told
from ops.audit_result r join ops.build b using (build_id)
where b.run_id = %(run_id)s and not r.success
order by array_position(array['fail', 'hold', 'warn'], r.severity), r.suite, r.column_name
"""

_HELD = """
select feed, branch_id, business_date, revision, rows_sent from ops.held_slice
order by business_date desc, branch_id, feed
"""

_RANKED = """
select k.branch_id, d.branch_name, k.registrations, k.acquisitions, k.attainment_mtd
from bi.kpi_branch_daily k join bi.dim_branch d using (branch_id)
where k.business_date = %(day)s and k.attainment_mtd is not null
order by k.attainment_mtd {direction}, k.branch_id limit %(top)s
"""

_QUARANTINED = """
select code, sum(rows)::bigint as rows from ops.quarantine_by_code where build_id = %(build_id)s
group by code order by 2 desc, 1
"""

_BRANCHES = """
select branch_id, is_missing from ops.branch_standing
where business_date = %(day)s and (is_missing or is_incomplete) order by branch_id
"""

# The mart lists what was owed when it was made, so that not every slice of history is judged again: none that was
# delivered since then is owed, and none is owed that was not before.
_OWING = """
select s.business_date, s.status, s.feed, s.branch_id, d.branch_name, s.rejected_reason as reason
from bi.kpi_data_quality_daily q
cross join lateral (
    select * from ops.slice_standing t
    where (t.feed, t.branch_id, t.business_date) = (q.feed, q.branch_id, q.business_date)
    offset 0  -- one slice at a time
) s
join bi.dim_branch d on d.branch_id = s.branch_id
where (q.status in ('missing', 'rejected') or q.business_date = %(day)s)
    and (s.status in ('missing', 'rejected') or (s.status = 'late' and s.business_date = %(day)s))
order by s.status = 'missing', s.business_date desc, s.status, s.branch_id, s.feed
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
