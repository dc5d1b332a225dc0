"""One night of all branches, and one branch of a night: what came, what did not, who was visited.

Read by role auditor; nothing personal in it. A night costs three statements, a branch five, however long the history.
"""

import csv
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any, Literal, LiteralString, cast, get_args

import psycopg
from psycopg.rows import dict_row

from kkbc.core import clock
from kkbc.core.settings import PROJECT_ROOT
from kkbc.exchange.contracts import feeds, is_expected
from kkbc.warehouse import connect

DictConnection = psycopg.Connection[dict[str, Any]]

# In the order in which a night's slices make a branch's state: the first that one of them is in.
State = Literal["held", "rejected", "missing", "late", "on_time", "not_expected"]
STATES: tuple[State, ...] = get_args(State)

HISTORY = timedelta(days=27)
VISITS_SHOWN = 30


@dataclass(frozen=True)
class BranchState:
    """How a branch stands on one night.

    state: that of its worst slice; missing when one of them is. feeds: state by feed. rows, quarantined: rows sent and
    quarantined of the revisions in force, or held. history: rows in force of the last 28 business dates, None where
    nothing is. visits, last_visit, last_outcome: of the runs for this night, None when there was none. has_log: Airflow
    made the last visit, and has its log.
    """

    branch_id: str
    branch_name: str
    kanwil_id: str
    kanwil_name: str
    state: State
    feeds: dict[str, State]
    rows: int
    quarantined: int
    history: tuple[int | None, ...]
    visits: int = 0
    last_visit: int | None = None
    last_outcome: str | None = None
    has_log: bool = False

    @property
    def quarantine_rate(self) -> float | None:
        """Share of the rows sent that was quarantined; None when no rows were sent."""
        return self.quarantined / self.rows if self.rows else None


@dataclass(frozen=True)
class Night:
    """A night on the board. `first` and `latest` bound the nights that were run, None before the first one.

    published_as_of, published_at: what BI sees now, None before the first publication. alert: what the operator was
    told after the latest pulls of this night.
    """

    day: date
    first: date | None = None
    latest: date | None = None
    published_as_of: date | None = None
    published_at: datetime | None = None
    alert: str | None = None
    branches: list[BranchState] = field(default_factory=list)

    @property
    def counts(self) -> dict[State, int]:
        """Branches by state, of every state that there is."""
        return {state: sum(branch.state == state for branch in self.branches) for state in STATES}

    @property
    def offices(self) -> dict[str, list[BranchState]]:
        """The branches by regional office, in the order of the offices' ids."""
        found: dict[str, list[BranchState]] = {}
        for branch in sorted(self.branches, key=lambda branch: (branch.kanwil_id, branch.branch_id)):
            found.setdefault(branch.kanwil_name, []).append(branch)
        return found


@dataclass(frozen=True)
class BranchNight:
    """One branch of a night: its state, every revision of its slices, and the visits that were made for it.

    revisions: feed, revision, status, reason, detail, sent_at, rows_sent, rows_quarantined, and of what the gate held
    hold_reasons and release_why. visits: attempt_id,
    run_id, mode, started_at, seconds, kind, outcome, slices, rows, reason, notes, the latest first.
    """

    night: Night
    branch: BranchState
    revisions: list[dict[str, Any]]
    visits: list[dict[str, Any]]


def branch_states(day: date | None = None) -> Night:
    """All branches of the registry on the night of `day` (None: the latest that was run).

    A warehouse in which nothing was run yet has no branches. Raises UserError when the warehouse cannot be reached.
    """
    with connect("auditor") as plain_conn:
        return _night(_as_dicts(plain_conn), day)


def branch_night(branch_id: str, day: date) -> BranchNight | None:
    """One branch of the night of `day`; None when the registry of the latest run did not know it.

    Raises UserError when the warehouse cannot be reached.
    """
    with connect("auditor") as plain_conn:
        conn = _as_dicts(plain_conn)
        night = _night(conn, day, branch_id)
        if not night.branches:
            return None
        values = {"branch_id": branch_id, "day": day, "visits": VISITS_SHOWN}
        revisions = conn.execute(_REVISIONS, values).fetchall()
        visits = conn.execute(_VISITS, values).fetchall()
    return BranchNight(night, night.branches[0], revisions, visits)


def visit(attempt_id: int) -> tuple[str, str] | None:
    """The run and the branch of a visit that Airflow made; None for any other."""
    with connect("auditor") as conn:
        return conn.execute(
            "select a.run_id, a.branch_id from ops.attempt a join ops.run r using (run_id)"
            " where a.attempt_id = %s and r.mode = 'airflow'",
            [attempt_id],
        ).fetchone()


def pull_again(branch_id: str) -> dict[str, Any] | None:
    """The parameters of `pull_branches` that visit one branch as the latest night did; None when it is unknown.

    The night is the latest one, whichever is looked at: a visit takes whatever is outstanding, of any day, while a run
    for an earlier day would take the marts back to it.
    """
    with connect("auditor") as plain_conn:
        found = _as_dicts(plain_conn).execute(_LATEST_WISHES, [branch_id]).fetchone()
    if found is None:
        return None
    return {
        "as_of": found["as_of"].isoformat(),
        "source_root": found["source_root"],
        "ways": found["ways"],
        "branches": [branch_id],
    }


def _as_dicts(plain_conn: psycopg.Connection) -> DictConnection:
    conn = cast(DictConnection, plain_conn)
    conn.row_factory = dict_row
    return conn


def _night(conn: DictConnection, day: date | None, branch_id: str | None = None) -> Night:
    facts = conn.execute(_FACTS, {"day": day}).fetchone()
    assert facts is not None
    day = day or facts["latest"] or clock.latest_due(clock.now())
    if facts["latest"] is None:
        return Night(day)
    values = {
        "day": day,
        "due": clock.due_at(day),
        "from": day - HISTORY,
        "feeds": list(feeds("branch")),
        "branch_id": branch_id,
        "is_run": facts["first"] <= day <= facts["latest"],
    }
    visited = {row["branch_id"]: row for row in conn.execute(_LAST_VISITS, values)}
    branches = [_state(day, row, visited.get(row["branch_id"], {})) for row in conn.execute(_STATES, values)]
    return Night(day, branches=branches, **facts)


def _state(day: date, row: dict[str, Any], last: dict[str, Any]) -> BranchState:
    name, kanwil_id, kanwil_name = _places().get(row["branch_id"], (row["branch_id"], "", "Tanpa kantor wilayah"))
    states: dict[str, State] = {
        feed: row["feeds"].get(feed, "missing" if row["is_expected"] and is_expected(feed, day) else "not_expected")
        for feed in feeds("branch")
    }
    by_day = dict(zip(row["days"] or [], row["rows_by_day"] or [], strict=True))
    return BranchState(
        branch_id=row["branch_id"],
        branch_name=name,
        kanwil_id=kanwil_id,
        kanwil_name=kanwil_name,
        state=min(states.values(), key=STATES.index),
        feeds=states,
        rows=row["rows"],
        quarantined=row["quarantined"],
        history=tuple(by_day.get(number) for number in range(HISTORY.days + 1)),
        visits=last.get("visits", 0),
        last_visit=last.get("attempt_id"),
        last_outcome=last.get("outcome"),
        has_log=last.get("mode") == "airflow",
    )


@cache
def _places() -> dict[str, tuple[str, str, str]]:
    """Name and regional office of each branch, from the seeds: they are there before anything was built."""
    offices = {row["kanwil_id"]: row["kanwil_name"] for row in _seed("regional_offices")}
    return {
        row["branch_id"]: (row["branch_name"], row["kanwil_id"], offices[row["kanwil_id"]]) for row in _seed("branches")
    }


def _seed(name: str) -> list[dict[str, str]]:
    # Not by kkbc.exchange.reference, which brings Polars and its threads into Airflow's web server.
    with (PROJECT_ROOT / "dbt_project" / "seeds" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


_FACTS: LiteralString = """
select
    coalesce(
        (select value::date from ops.setting where name = 'first_business_date'),
        -- A look into the index for each branch, for the whole of ops.slice would be read otherwise.
        (select min(s.earliest) from ops.branch b cross join lateral (
            select min(business_date) as earliest from ops.slice where branch_id = b.branch_id
        ) s),
        n.latest
    ) as first,
    n.latest,
    p.as_of as published_as_of,
    p.published_at,
    (select alert from ops.run where as_of = coalesce(%(day)s, n.latest) order by started_at desc limit 1) as alert
from (select max(as_of) as latest from ops.run) n
left join (select as_of, published_at from ops.publication order by publication_id desc limit 1) p on true
"""

# A slice's state as in the mart kpi_data_quality_daily, with empty ones on time; held ones are beside the marts.
_STATES: LiteralString = """
with delivered as (
    select
        branch_id,
        feed,
        case
            when bool_and(status = 'rejected') then 'rejected'
            when bool_or(status = 'held') then 'held'
            when min(sent_at) filter (where status <> 'rejected') > %(due)s then 'late'
            else 'on_time'
        end as state,
        (array_agg(rows_sent order by revision desc) filter (where status in ('loaded', 'held')))[1] as rows,
        (array_agg(rows_quarantined order by revision desc) filter (where status in ('loaded', 'held')))[1]
            as quarantined
    from ops.slice
    where business_date = %(day)s and feed = any(%(feeds)s)
        and branch_id = any(array(select branch_id from ops.branch))
    group by branch_id, feed
),
tonight as (
    select
        branch_id,
        jsonb_object_agg(feed, state) as feeds,
        sum(coalesce(rows, 0))::bigint as rows,
        sum(coalesce(quarantined, 0))::bigint as quarantined
    from delivered group by branch_id
),
days as (
    select branch_id, business_date - %(from)s::date as day, sum(rows_sent)::bigint as rows
    from ops.slice
    where business_date between %(from)s and %(day)s and feed = any(%(feeds)s) and status = 'loaded'
        and branch_id = any(array(select branch_id from ops.branch))
    group by branch_id, business_date
),
history as (
    select branch_id, array_agg(day) as days, array_agg(rows) as rows_by_day from days group by branch_id
)
select
    b.branch_id,
    %(is_run)s and %(day)s >= coalesce(b.active_from, '-infinity') and %(day)s <= coalesce(b.active_to, 'infinity')
        as is_expected,
    coalesce(t.feeds, '{}') as feeds,
    coalesce(t.rows, 0) as rows,
    coalesce(t.quarantined, 0) as quarantined,
    h.days,
    h.rows_by_day
from ops.branch b
left join tonight t using (branch_id)
left join history h using (branch_id)
where %(branch_id)s::text is null or b.branch_id = %(branch_id)s
order by b.branch_id
"""

_LAST_VISITS: LiteralString = """
select distinct on (a.branch_id)
    a.branch_id, a.attempt_id, a.outcome, r.mode, count(*) over (partition by a.branch_id)::int as visits
from ops.run r join ops.attempt a using (run_id)
where r.as_of = %(day)s and (%(branch_id)s::text is null or a.branch_id = %(branch_id)s)
order by a.branch_id, a.attempt_id desc
"""

_REVISIONS: LiteralString = """
select
    feed, revision, s.status, s.reason, s.detail, s.sent_at, s.rows_sent, s.rows_quarantined,
    coalesce(h.reasons, '{}') as hold_reasons, h.release_why
from ops.slice s left join ops.hold h using (feed, branch_id, business_date, revision)
where branch_id = %(branch_id)s and business_date = %(day)s order by feed, revision desc
"""

# Those made for the night, and those of later nights that brought something of it.
_VISITS: LiteralString = """
select
    a.attempt_id, a.run_id, r.mode, r.as_of, a.started_at,
    extract(epoch from a.finished_at - a.started_at)::float8 as seconds,
    a.kind, a.outcome, a.slices, a.rows, a.reason, a.notes
from ops.attempt a join ops.run r using (run_id)
where a.branch_id = %(branch_id)s and a.run_id in (
    select run_id from ops.run where as_of = %(day)s
    union
    select run_id from ops.slice where branch_id = %(branch_id)s and business_date = %(day)s
)
order by a.attempt_id desc limit %(visits)s
"""

_LATEST_WISHES: LiteralString = """
select r.as_of, r.source_root, r.ways
from ops.run r
where exists (select from ops.branch where branch_id = %s)
    and exists (select from ops.attempt a where a.run_id = r.run_id)
order by r.as_of desc, r.started_at desc limit 1
"""
